//! From a file of the owner to labelled examples and their tokens, all of it on the owner's device.
//!
//! ```text
//! bytes -encoding-> text -format-> Table -columns-> Columns -rows-> Dataset { RawText, label } -tokenizer-> TokenIds
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`token_ids`] | [`RawText`] and [`TokenIds`]: what must stay here |
//! | [`tokenizer`], [`pieces`] | `RawText -> TokenIds`, and tokens as people read them |
//! | [`encoding`] | bytes to characters; what is no text at all |
//! | [`format`], `delimited`, `json`, `header` | which format a file has, and its records |
//! | [`table`] | [`Table`]: columns and rows of a file, still uninterpreted |
//! | [`columns`], `names` | which column is the text, its pair, the label |
//! | [`rows`], `clean` | rows to examples; [`BadRows`]: what was left out and why |
//! | [`dataset`], [`split`], [`report`] | [`Dataset`], its two sides, and what the page may show of it |
//! | [`error`] | [`TextError`] |
//!
//! Nothing here opens a file, prints, or knows that there is a network.

mod clean;
pub mod columns;
pub mod dataset;
mod delimited;
pub mod encoding;
pub mod error;
pub mod format;
mod header;
mod json;
mod names;
pub mod pieces;
pub mod report;
pub mod rows;
pub mod split;
pub mod table;
pub mod token_ids;
pub mod tokenizer;

#[cfg(test)]
mod shared_data_tests;

pub use columns::{ColumnChoice, Columns};
pub use dataset::{Dataset, DatasetLimits, Example, TextRow, Texts};
pub use encoding::TextEncoding;
pub use error::TextError;
pub use format::FileFormat;
pub use pieces::Piece;
pub use report::{DatasetReport, LabelCount};
pub use rows::{BadReason, BadRow, BadRows};
pub use table::{FILE_BYTES_MAX, Table, check_file_bytes};
pub use token_ids::{RawText, TokenIds};
pub use tokenizer::Tokenizer;
