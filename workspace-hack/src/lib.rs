//! Unifies dependency features; holds no code. See Cargo.toml.
