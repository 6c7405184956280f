//! The field blocks of an HTTP/2 client (RFC 9113 section 4.3), as they pass by: whether each can be decoded (RFC 7541), and
//! whether trailers have a pseudo-header, neither of which h2 tells apart from what else may be wrong. Follows the dynamic
//! table by the sizes of its entries, and keeps no text. Pure.

mod huffman;
mod table;

use huffman::Huffman;
use table::{Name, Table};

use super::prefixed::{Integer, Read};

/// The blocks of one connection.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    table: Table,
    at: At,
    // Whether the table may still be resized in this block.
    may_resize: bool,
    field: Field,
    are_trailers: bool,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be decoded, nor can any after it.
    Undecodable,
    /// Trailers with a pseudo-header (RFC 9113 section 8.1).
    PseudoInTrailers,
}

// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Field,
    Length,
    Integer(Integer, What),
    // A string of which so many bytes are left.
    Text(usize, Text),
}

// What an integer means.
#[derive(Clone, Copy, Debug)]
enum What {
    TableSize,
    Field,
    Name,
    Length { is_coded: bool },
}

#[derive(Clone, Copy, Debug)]
enum Text {
    Plain(Name),
    Coded(Huffman),
}

// The literal field at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Field {
    is_indexed: bool,
    // Once it is known, the value follows.
    name: Option<Name>,
}

impl Blocks {
    /// A block begins.
    pub(super) const fn begin(&mut self, are_trailers: bool) {
        (self.at, self.may_resize, self.are_trailers) = (At::Field, true, are_trailers);
    }

    /// Looks at what comes next of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some((first, rest)) = bytes.split_first() {
            let mut behind = rest;
            match self.at {
                At::Field => self.begin_field(*first)?,
                At::Length => self.integer(Integer::begin(*first, 7), What::Length { is_coded: first & 0x80 != 0 })?,
                At::Integer(integer, what) => self.integer(integer.go_on(*first), what)?,
                At::Text(left, text) => {
                    let (piece, after) = bytes.split_at(left.min(bytes.len()));
                    self.text(text, piece, left - piece.len())?;
                    behind = after;
                }
            }
            bytes = behind;
        }
        Ok(())
    }

    /// It is whole.
    ///
    /// # Errors
    /// It ends within a field.
    pub(super) const fn end(&self) -> Result<(), Fault> {
        if matches!(self.at, At::Field) { Ok(()) } else { Err(Fault::Undecodable) }
    }

    // RFC 7541 section 6.
    fn begin_field(&mut self, first: u8) -> Result<(), Fault> {
        let (bits, what) = match first {
            0x80.. => (7, What::Field),
            0x40.. => (6, What::Name),
            0x20.. if self.may_resize => (5, What::TableSize),
            0x20.. => return Err(Fault::Undecodable),
            _ => (4, What::Name),
        };
        self.may_resize = matches!(what, What::TableSize);
        self.field = Field { is_indexed: first & 0xc0 == 0x40, name: None };
        self.integer(Integer::begin(first, bits), what)
    }

    fn integer(&mut self, read: Read, what: What) -> Result<(), Fault> {
        let value = match read {
            Read::Whole(value) => value,
            Read::Part(integer) => {
                self.at = At::Integer(integer, what);
                return Ok(());
            }
            Read::TooLong => return Err(Fault::Undecodable),
        };
        match what {
            What::TableSize => {
                self.table.resize(value).ok_or(Fault::Undecodable)?;
                self.at = At::Field;
            }
            What::Field => {
                let name = self.table.name(value).ok_or(Fault::Undecodable)?;
                self.end_of_field(name)?;
            }
            What::Name => {
                if value != 0 {
                    self.field.name = Some(self.table.name(value).ok_or(Fault::Undecodable)?);
                }
                self.at = At::Length;
            }
            What::Length { .. } if value == 0 => self.end_of_text(Name::default())?,
            What::Length { is_coded: true } => self.at = At::Text(value, Text::Coded(Huffman::default())),
            What::Length { is_coded: false } => self.at = At::Text(value, Text::Plain(Name::default())),
        }
        Ok(())
    }

    fn text(&mut self, mut text: Text, piece: &[u8], left: usize) -> Result<(), Fault> {
        match &mut text {
            Text::Plain(read) => read.extend(piece),
            Text::Coded(coded) => coded.feed(piece).ok_or(Fault::Undecodable)?,
        }
        if left > 0 {
            self.at = At::Text(left, text);
            return Ok(());
        }
        self.end_of_text(match text {
            Text::Plain(read) => read,
            Text::Coded(coded) => coded.end().ok_or(Fault::Undecodable)?,
        })
    }

    // What was read is a name, or the value behind one.
    fn end_of_text(&mut self, read: Name) -> Result<(), Fault> {
        let Some(name) = self.field.name else {
            (self.field.name, self.at) = (Some(read), At::Length);
            return Ok(());
        };
        if self.field.is_indexed {
            self.table.insert(name, read.bytes);
        }
        self.end_of_field(name)
    }

    const fn end_of_field(&mut self, name: Name) -> Result<(), Fault> {
        self.at = At::Field;
        if name.is_pseudo && self.are_trailers { Err(Fault::PseudoInTrailers) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
