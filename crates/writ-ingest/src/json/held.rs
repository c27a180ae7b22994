//! A value that is kept until what comes after it is known.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use super::Json;
use crate::error::IngestError;
use crate::input::Input;
use crate::options::Limits;

/// Held values up to this size stay in memory; larger ones go to an unnamed temporary file.
const MEMORY: usize = 8 << 20;

/// The value.
pub struct Held {
    memory: Vec<u8>,
    file: Option<File>,
    offset: u64,
    depth: u32,
    limits: Limits,
    format: &'static str,
}

impl Held {
    pub(super) fn new(offset: u64, depth: u32, limits: Limits, format: &'static str) -> Self {
        Self {
            memory: Vec::new(),
            file: None,
            offset,
            depth,
            limits,
            format,
        }
    }

    fn spill(&self, source: std::io::Error) -> IngestError {
        IngestError::Spill {
            format: self.format,
            source,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        if self.file.is_none() && self.memory.len() + bytes.len() <= MEMORY {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        if self.file.is_none() {
            let mut file = tempfile::tempfile().map_err(|e| self.spill(e))?;
            file.write_all(&self.memory).map_err(|e| self.spill(e))?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|source| IngestError::Spill {
                format: self.format,
                source,
            }),
            None => Ok(()),
        }
    }

    /// Reads the value now. Offsets in errors count from the beginning of the report.
    pub fn replay<T>(
        mut self,
        read: impl FnOnce(&mut Json<'_>) -> Result<T, IngestError>,
    ) -> Result<T, IngestError> {
        let mut memory = Cursor::new(std::mem::take(&mut self.memory));
        let mut file = self.file.take();
        let reader: &mut dyn Read = match &mut file {
            Some(file) => {
                file.seek(SeekFrom::Start(0)).map_err(|e| self.spill(e))?;
                file
            }
            None => &mut memory,
        };
        let mut input = Input::new(reader, self.limits);
        input.format = self.format;
        input.begin_at(self.offset);
        read(&mut Json::nested(input, self.depth))
    }
}
