//! Raw little-endian tensors behind a header: shape and dtype here, bytes in the frame.

use serde::{Deserialize, Serialize};

/// How the numbers of a payload are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActivationDtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// One f32 scale a row (all scales first), then one signed byte a number: `x = scale * q`, `scale = max|x| / 127`.
    Int8,
}

/// Shape and dtype of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorDescriptor {
    /// How the numbers are written.
    pub dtype: ActivationDtype,
    /// Token positions, all examples together.
    pub rows: u32,
    /// Width, `d_model`.
    pub columns: u32,
}
