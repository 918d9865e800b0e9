//! From a file of the owner to labelled examples and their tokens, all of it on the owner's device.
//!
//! ```text
//! bytes -encoding-> text -format-> Table -columns-> Columns -rows-> Dataset { RawText, label } -tokenizer-> TokenIds
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`token_ids`] | [`RawText`] and [`TokenIds`]: what must stay here |
//! | [`tokenizer`], `tokenizer_file`, [`pieces`] | `RawText -> TokenIds`, and tokens as people read them |
//! | [`encoding`] | bytes to characters; what is no text at all |
//! | [`mod@format`], `delimited`, `json`, `header`, `readers` | which format a file has, and its records |
//! | [`table`] | [`Table`]: columns and rows of a file, still uninterpreted |
//! | [`columns`], `names` | which column is the text, its pair, the label |
//! | [`rows`], `clean` | rows to examples; [`BadRows`]: what was left out and why |
//! | [`dataset`], [`split`], [`texts`] | [`Dataset`], its two sides; [`Texts`] to predict |
//! | [`report`] | [`DatasetReport`]: what the page may show |
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
mod readers;
pub mod report;
pub mod rows;
pub mod split;
pub mod table;
pub mod texts;
pub mod token_ids;
pub mod tokenizer;
mod tokenizer_file;

#[cfg(test)]
mod any_input_tests;
#[cfg(test)]
mod shared_data_tests;
#[cfg(test)]
pub(crate) mod test_tokenizers;

pub use columns::{ColumnChoice, Columns};
pub use dataset::{Dataset, DatasetLimits, Example};
pub use encoding::TextEncoding;
pub use error::TextError;
pub use format::FileFormat;
pub use pieces::Piece;
pub use report::{DatasetReport, LabelCount};
pub use rows::{BadReason, BadRow, BadRows};
pub use table::{FILE_BYTES_MAX, Table, check_file_bytes};
pub use texts::{TextRow, Texts};
pub use token_ids::{RawText, TokenIds};
pub use tokenizer::Tokenizer;
