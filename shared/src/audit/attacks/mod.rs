//! The attacks: a file and a line of [`ATTACKS`] each.

use super::attack::Attack;

/// Every attack that the audit knows, in the order of the report.
pub const ATTACKS: &[&dyn Attack] = &[];
