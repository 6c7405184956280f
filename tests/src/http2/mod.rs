//! HTTP/2 as tests play it: an origin that speaks it ([`Origin2`]), and either end of a connection frame by frame
//! ([`Frames`]).

mod frames;
mod origin;

pub use frames::{Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE};
pub use origin::{Origin2, Settings};
