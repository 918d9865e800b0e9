//! `config.json` of a Hugging Face directory, reduced to what an encoder needs.

use std::fmt;

use serde::Deserialize;

use super::error::ModelError;

/// The encoder families that this project reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `BertModel`.
    Bert,
    /// `RobertaModel`.
    Roberta,
    /// `DistilBertModel`.
    DistilBert,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::DistilBert => "distilbert",
        })
    }
}

/// The function between the two feed-forward projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForwardActivation {
    /// `x * Phi(x)`, by the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// Sizes and constants of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which tensor names, positions and task head apply.
    pub family: Family,
    /// Width of an activation.
    pub d_model: usize,
    /// Transformer blocks.
    pub n_layers: usize,
    /// Attention heads a block.
    pub n_heads: usize,
    /// Inner width of the feed-forward layer.
    pub d_ff: usize,
    /// Rows of the token-embedding table.
    pub vocab_size: usize,
    /// Longest sequence that has positions.
    pub seq_length_max: usize,
    /// Position of the first token (RoBERTa starts after its padding id).
    pub position_offset: usize,
    /// Segments that the token-type table knows; 0 where the family has none.
    pub n_token_types: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_epsilon: f64,
    /// Between the feed-forward projections.
    pub activation: FeedForwardActivation,
}

#[derive(Deserialize)]
struct HfConfig {
    model_type: Option<String>,
    #[serde(alias = "dim")]
    hidden_size: Option<usize>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: Option<usize>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<usize>,
    #[serde(alias = "hidden_dim")]
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    pad_token_id: Option<usize>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// `ModelError::Config` when it is not JSON, names another architecture, or its sizes do not
    /// fit together.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        let hf: HfConfig = serde_json::from_slice(bytes)
            .map_err(|error| ModelError::Config(format!("not readable as JSON ({error})")))?;
        let family = match hf.model_type.as_deref() {
            Some("bert") => Family::Bert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            Some("distilbert") => Family::DistilBert,
            other => {
                let found = other.unwrap_or("nothing");
                return Err(ModelError::Config(format!(
                    "model_type is {found}; bert, roberta and distilbert are supported"
                )));
            }
        };
        if hf.is_decoder == Some(true) {
            return Err(ModelError::Config(
                "is_decoder is true; encoders are supported".into(),
            ));
        }
        if let Some(kind) = hf
            .position_embedding_type
            .as_deref()
            .filter(|k| *k != "absolute")
        {
            return Err(ModelError::Config(format!(
                "position_embedding_type is {kind}; absolute is supported"
            )));
        }
        let position_offset = match family {
            // A padding id without end leaves no position, which is refused below.
            Family::Roberta => hf.pad_token_id.unwrap_or(1).saturating_add(1),
            Family::Bert | Family::DistilBert => 0,
        };
        let positions = size(
            hf.max_position_embeddings.or(Some(512)),
            "max_position_embeddings",
        )?;
        let config = Self {
            family,
            d_model: size(hf.hidden_size, "hidden_size")?,
            n_layers: size(hf.num_hidden_layers, "num_hidden_layers")?,
            n_heads: size(hf.num_attention_heads, "num_attention_heads")?,
            d_ff: size(hf.intermediate_size, "intermediate_size")?,
            vocab_size: size(hf.vocab_size, "vocab_size")?,
            seq_length_max: positions.saturating_sub(position_offset),
            position_offset,
            n_token_types: match family {
                Family::DistilBert => 0,
                Family::Bert | Family::Roberta => hf.type_vocab_size.unwrap_or(2),
            },
            layer_norm_epsilon: hf.layer_norm_eps.unwrap_or(1e-12),
            activation: activation(hf.hidden_act.as_deref().unwrap_or("gelu"))?,
        };
        if !config.d_model.is_multiple_of(config.n_heads) || config.seq_length_max == 0 {
            return Err(ModelError::Config(format!(
                "hidden_size {} is not a multiple of {} heads, or there are no positions",
                config.d_model, config.n_heads
            )));
        }
        Ok(config)
    }

    /// Width of one attention head.
    pub fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }
}

fn size(value: Option<usize>, name: &str) -> Result<usize, ModelError> {
    /// No supported encoder comes near; a larger number is a broken file.
    const SIZE_MAX: usize = 1 << 24;
    match value {
        Some(value) if (1..=SIZE_MAX).contains(&value) => Ok(value),
        Some(value) => Err(ModelError::Config(format!("{name} is {value}"))),
        None => Err(ModelError::Config(format!("{name} is missing"))),
    }
}

fn activation(name: &str) -> Result<FeedForwardActivation, ModelError> {
    match name {
        "gelu" => Ok(FeedForwardActivation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(FeedForwardActivation::GeluTanh),
        "relu" => Ok(FeedForwardActivation::Relu),
        other => Err(ModelError::Config(format!(
            "hidden_act is {other}; gelu, gelu_new and relu are supported"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn distilbert_spells_its_sizes_differently() {
        let json =
            br#"{"model_type":"distilbert","dim":32,"n_layers":3,"n_heads":4,"hidden_dim":64,
            "vocab_size":120,"max_position_embeddings":40,"activation":"gelu"}"#;
        let config = ModelConfig::from_json(json).unwrap();
        assert_eq!((config.d_model, config.n_layers, config.d_ff), (32, 3, 64));
        assert_eq!((config.n_token_types, config.d_head()), (0, 8));
    }

    #[test]
    fn roberta_positions_start_after_the_padding_id() {
        let json = br#"{"model_type":"roberta","hidden_size":32,"num_hidden_layers":3,
            "num_attention_heads":4,"intermediate_size":64,"vocab_size":120,
            "max_position_embeddings":42,"pad_token_id":1,"type_vocab_size":1}"#;
        let config = ModelConfig::from_json(json).unwrap();
        assert_eq!((config.position_offset, config.seq_length_max), (2, 40));
    }

    /// Breaks when the position behind the largest padding id wraps round to 0.
    #[test]
    fn a_padding_id_without_end_leaves_no_position() {
        let json = br#"{"model_type":"roberta","hidden_size":32,"num_hidden_layers":3,
            "num_attention_heads":4,"intermediate_size":64,"vocab_size":120,
            "max_position_embeddings":42,"pad_token_id":18446744073709551615}"#;
        assert!(matches!(
            ModelConfig::from_json(json),
            Err(ModelError::Config(_))
        ));
    }

    #[test]
    fn another_architecture_is_named_in_the_error() {
        let error = ModelConfig::from_json(br#"{"model_type":"gpt2"}"#).unwrap_err();
        assert!(error.to_string().contains("gpt2"), "{error}");
    }

    #[test]
    fn heads_must_divide_the_width() {
        let json = br#"{"model_type":"bert","hidden_size":30,"num_hidden_layers":1,
            "num_attention_heads":4,"intermediate_size":8,"vocab_size":9}"#;
        assert!(matches!(
            ModelConfig::from_json(json),
            Err(ModelError::Config(_))
        ));
    }
}
