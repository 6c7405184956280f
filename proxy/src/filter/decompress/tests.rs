//! Tests of what comes of bodies, and of what does not.

use std::io::Write as _;

use http::Method;
use http_body_util::BodyExt as _;

use super::*;
use crate::exchange::testing;

fn step(bytes_max: u64, ratio_max: u32) -> Decompress {
    let codings = vec![Coding::Gzip, Coding::Brotli, Coding::Zstd];
    Decompress::new(&spec::Decompress { codings, body_bytes_max: bytes_max, ratio_max })
}

fn coded(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 22);
            encoder.write_all(plain).unwrap();
            encoder.into_inner()
        }
        _ => zstd::encode_all(plain, 9).unwrap(),
    }
}

/// What is passed on of a body that comes in frames of `size` bytes: its bytes, or the kind of its end.
async fn passed(step: &Decompress, coding: &str, body: &[u8], size: usize) -> Result<Vec<u8>, Kind> {
    let mut request = testing::request(Method::POST, "/");
    request.head.headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
    let frames: Vec<_> = body.chunks(size).map(|data| Ok(http_body::Frame::data(data.to_vec().into()))).collect();
    request.body = Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
    let Ok(Flow::Continue) = step.request(&mut request) else { panic!("{coding} is refused") };
    assert!(!request.head.headers.contains_key(header::CONTENT_ENCODING));
    request.body.collect().await.map(|whole| whole.to_bytes().to_vec()).map_err(|error| error.kind())
}

#[tokio::test]
async fn bodies_of_every_coding_are_passed_on_plain_however_they_are_cut() {
    let plain: Vec<u8> = (0..200_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    let step = step(10 << 20, 100);
    for coding in ["gzip", "br", "zstd"] {
        let whole = coded(coding, &plain);
        for size in [1, 999, whole.len()] {
            assert!(passed(&step, coding, &whole, size).await == Ok(plain.clone()), "{coding} {size}");
        }
    }
    let two = [coded("gzip", b"one,"), coded("gzip", b"two")].concat();
    assert_eq!(passed(&step, "gzip", &two, 5).await, Ok(b"one,two".to_vec()), "members follow each other");
    let two = [coded("zstd", b"one,"), coded("zstd", b"two")].concat();
    assert_eq!(passed(&step, "zstd", &two, 5).await, Ok(b"one,two".to_vec()), "frames follow each other");
}

#[tokio::test]
async fn what_is_cut_short_or_is_something_else_is_malformed() {
    let step = step(10 << 20, 100);
    for coding in ["gzip", "br", "zstd"] {
        let whole = coded(coding, &vec![b'x'; 10_000]);
        for cut in [1, whole.len() / 2, whole.len() - 1] {
            let passed = passed(&step, coding, &whole[..cut], 7).await;
            assert_eq!(passed, Err(Kind::MalformedRequest), "{coding} {cut}");
        }
        let more = [&whole[..], b"and more of something else"].concat();
        assert_eq!(passed(&step, coding, &more, more.len()).await, Err(Kind::MalformedRequest), "{coding}");
        assert_eq!(passed(&step, coding, b"{\"plain\": \"json\"}", 99).await, Err(Kind::MalformedRequest), "{coding}");
    }
}

#[tokio::test]
async fn a_bomb_is_refused_by_its_size_and_by_its_ratio() {
    let plain = vec![0; 20 << 20];
    for coding in ["gzip", "br", "zstd"] {
        let bomb = coded(coding, &plain);
        assert_eq!(passed(&step(1 << 20, 1_000_000), coding, &bomb, 64).await, Err(Kind::BodyTooLarge), "{coding}");
        assert_eq!(passed(&step(1 << 30, 10), coding, &bomb, 64).await, Err(Kind::BodyTooLarge), "{coding}");
        let small = coded(coding, &plain[..60_000]);
        assert!(passed(&step(1 << 20, 1), coding, &small, 64).await.is_ok(), "{coding}: little of it does no harm");
    }
}

#[tokio::test]
async fn other_codings_are_refused_with_what_is_read() {
    let step = step(1 << 20, 100);
    for (coding, refused) in [("deflate", true), ("gzip, br", true), ("nonsense", true), ("identity", false)] {
        let mut request = testing::request(Method::POST, "/");
        request.head.headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        request.body = Body::full("body");
        match step.request(&mut request).unwrap() {
            Flow::Answer(response) => {
                assert!(refused, "{coding}");
                assert_eq!(response.head.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
                assert_eq!(response.head.headers[header::ACCEPT_ENCODING], "gzip, br, zstd");
            }
            Flow::Continue => assert!(!refused, "{coding}"),
        }
    }
}
