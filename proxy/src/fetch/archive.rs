//! Image layers: a tar archive, packed or not, and the module in it. POSIX.1-2001 pax headers and GNU's long names are
//! read, as image builders write them. Knows no registry.

use std::{io::Read, ops::Range};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// What a layer holds of modules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// `plugin.wasm` at the root, as Istio's specification of images has it.
    pub(super) plugin: Option<Bytes>,
    /// Every other file whose name ends in `.wasm`.
    pub(super) others: Vec<Bytes>,
}

/// Why a layer does not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Over the limit once it is unpacked.
    TooLarge,
    /// In words.
    Damaged(String),
}

const BLOCK: usize = 512;
/// Entries of one archive; a whole distribution has fewer.
const ENTRIES_MAX: usize = 100_000;
/// Of a header that says more of the next file.
const EXTENSION_BYTES_MAX: usize = 64 << 10;

/// The modules in a layer that unpacks to `bytes_max` bytes at most.
pub(super) fn modules(layer: &Bytes, packing: Packing, bytes_max: usize) -> Result<Found, Unreadable> {
    let archive = match packing {
        Packing::Plain => layer.clone(),
        Packing::Gzip => unpack(MultiGzDecoder::new(&layer[..]), bytes_max)?,
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(&layer[..]).map_err(damaged)?;
            unpack(decoder, bytes_max)?
        }
    };
    find(&archive)
}

fn unpack(packed: impl Read, bytes_max: usize) -> Result<Bytes, Unreadable> {
    let mut unpacked = Vec::new();
    packed.take(bytes_max as u64 + 1).read_to_end(&mut unpacked).map_err(damaged)?;
    if unpacked.len() > bytes_max { Err(Unreadable::TooLarge) } else { Ok(unpacked.into()) }
}

fn damaged(error: std::io::Error) -> Unreadable {
    Unreadable::Damaged(format!("it does not unpack: {error}"))
}

fn find(archive: &Bytes) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    let mut at = 0;
    // What an extended header says of the next file.
    let mut next = Extension::default();
    for _ in 0..ENTRIES_MAX {
        let Some(header) = archive.get(at..at + BLOCK) else { break };
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let header = Header::read(header).ok_or_else(|| Unreadable::Damaged("it is not a tar archive".into()))?;
        let size = next.size.unwrap_or(header.size);
        let content = within(archive, at + BLOCK, size)?;
        at = content.end.next_multiple_of(BLOCK);
        match header.kind {
            b'x' => next.read_pax(extension(archive, content)?),
            b'L' => {
                let name = extension(archive, content)?;
                next.name = Some(text(name));
            }
            // Of all files that follow, or of links: nothing that matters here.
            b'g' | b'K' => {}
            kind => {
                let name = next.name.take().unwrap_or(header.name);
                next = Extension::default();
                let name = name.trim_start_matches("./").trim_start_matches('/');
                if matches!(kind, b'0' | 0) && name.ends_with(".wasm") {
                    let module = archive.slice(content);
                    if name == "plugin.wasm" { found.plugin = Some(module) } else { found.others.push(module) }
                }
            }
        }
    }
    Ok(found)
}

fn within(archive: &Bytes, start: usize, size: u64) -> Result<Range<usize>, Unreadable> {
    let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
    let end = end.filter(|end| *end <= archive.len() && end.checked_next_multiple_of(BLOCK).is_some());
    end.map(|end| start..end).ok_or_else(|| Unreadable::Damaged("a file in it is cut short".into()))
}

fn extension(archive: &Bytes, content: Range<usize>) -> Result<&[u8], Unreadable> {
    if content.len() > EXTENSION_BYTES_MAX {
        return Err(Unreadable::Damaged("a name in it is too long".into()));
    }
    Ok(&archive[content])
}

struct Header {
    name: String,
    size: u64,
    kind: u8,
}

impl Header {
    fn read(block: &[u8]) -> Option<Self> {
        let (name, size, kind) = (text(&block[..100]), number(&block[124..136])?, block[156]);
        // `ustar` divides long names in two.
        let prefix = if &block[257..262] == b"ustar" { text(&block[345..500]) } else { String::new() };
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let sum: u64 = block.iter().enumerate().map(|(at, byte)| u64::from(sum_of(at, *byte))).sum();
        (number(&block[148..156])? == sum).then_some(Self { name, size, kind })
    }
}

// The field of the sum itself counts as spaces.
const fn sum_of(at: usize, byte: u8) -> u8 {
    if at >= 148 && at < 156 { b' ' } else { byte }
}

#[derive(Default)]
struct Extension {
    name: Option<String>,
    size: Option<u64>,
}

impl Extension {
    // Records of `LENGTH KEY=VALUE\n`.
    fn read_pax(&mut self, mut records: &[u8]) {
        while let Some(space) = records.iter().position(|byte| *byte == b' ') {
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
            let Some(record) = length.and_then(|length| records.get(space + 1..length)) else { return };
            let record = text(record);
            match record.trim_end_matches('\n').split_once('=') {
                Some(("path", name)) => self.name = Some(name.to_owned()),
                Some(("size", size)) => self.size = size.parse().ok(),
                _ => {}
            }
            records = &records[length.unwrap_or(records.len())..];
        }
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

// Octal, or with the highest bit set a large number as it is.
fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let digits = field.iter().enumerate().map(|(at, byte)| if at == 0 { byte & 0x7f } else { *byte });
        return digits.into_iter().try_fold(0u64, |sum, digit| sum.checked_mul(256)?.checked_add(u64::from(digit)));
    }
    let text = text(field);
    let text = text.trim();
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut block = [0u8; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = kind;
        block[257..262].copy_from_slice(b"ustar");
        let sum: u64 = block.iter().enumerate().map(|(at, byte)| u64::from(sum_of(at, *byte))).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut bytes = block.to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn archive(entries: &[Vec<u8>]) -> Bytes {
        let mut bytes = entries.concat();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes.into()
    }

    #[test]
    fn the_module_is_found_however_its_name_is_written() {
        let pax = |path: &str| {
            let rest = format!(" path={path}\n");
            let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
            entry("pax", b'x', format!("{length}{rest}").as_bytes())
        };
        for entries in [
            vec![entry("plugin.wasm", b'0', b"\0asm")],
            vec![entry("./plugin.wasm", 0, b"\0asm")],
            vec![entry("a", b'5', b""), entry("/plugin.wasm", b'0', b"\0asm")],
            vec![pax("plugin.wasm"), entry("short", b'0', b"\0asm")],
            vec![entry("long", b'L', b"plugin.wasm\0"), entry("short", b'0', b"\0asm")],
        ] {
            let found = find(&archive(&entries)).unwrap();
            assert_eq!(found.plugin.as_deref(), Some(&b"\0asm"[..]));
        }
        let other = find(&archive(&[entry("app/a.wasm", b'0', b"x"), entry("plugin.wasm", b'2', b"")])).unwrap();
        assert_eq!(other, Found { plugin: None, others: vec![Bytes::from_static(b"x")] });
    }

    #[test]
    fn what_is_damaged_or_too_large_says_so() {
        let whole = archive(&[entry("plugin.wasm", b'0', &[7; 4000])]);
        assert!(matches!(find(&whole.slice(..2000)), Err(Unreadable::Damaged(_))));
        assert!(matches!(find(&Bytes::from(vec![b'x'; 1024])), Err(Unreadable::Damaged(_))));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&whole).unwrap();
        let packed = Bytes::from(packed.finish().unwrap());
        assert!(modules(&packed, Packing::Gzip, whole.len()).unwrap().plugin.is_some());
        assert_eq!(modules(&packed, Packing::Gzip, 1000), Err(Unreadable::TooLarge));
        assert!(matches!(modules(&whole, Packing::Gzip, 1 << 20), Err(Unreadable::Damaged(_))));
        let packed = Bytes::from(zstd::encode_all(&whole[..], 1).unwrap());
        assert!(modules(&packed, Packing::Zstd, whole.len()).unwrap().plugin.is_some());
    }
}
