//! The task head: from the first position to one number a class.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

use super::config::{Family, ModelConfig};
use super::error::ModelError;
use super::linear::transposed;
use super::weights::Weights;
use crate::adapter::{Adapter, ParameterName};

/// A weight and a bias, both as matrices so that an optimizer sees one kind of parameter.
#[derive(Debug, Clone)]
pub struct HeadLayer {
    /// `[d_in, d_out]`
    pub weight: Tensor<2>,
    /// `[1, d_out]`
    pub bias: Tensor<2>,
}

impl HeadLayer {
    /// Reads `{name}.weight` (stored `[d_out, d_in]`) and `{name}.bias`.
    fn load(
        weights: &Weights<'_>,
        name: &str,
        [d_in, d_out]: [usize; 2],
        device: &Device,
    ) -> Result<Self, ModelError> {
        let stored = weights.tensor(&format!("{name}.weight"), &[d_out, d_in])?;
        let bias = weights.tensor(&format!("{name}.bias"), &[d_out])?;
        let weight = TensorData::new(transposed(&stored, d_out, d_in), [d_in, d_out]);
        Ok(Self {
            weight: Tensor::from_data(weight, device),
            bias: Tensor::from_data(TensorData::new(bias, [1, d_out]), device),
        })
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone()) + self.bias.clone()
    }
}

/// `classifier(activation(dense(x[first position])))`.
///
/// | family | dense | activation | trained |
/// |---|---|---|---|
/// | BERT | the pooler | tanh | classifier (and the pooler where the file has none) |
/// | RoBERTa | `classifier.dense` | tanh | both |
/// | DistilBERT | `pre_classifier` | ReLU | both |
///
/// What is trained lives in the adapter; what is frozen lives here.
#[derive(Debug, Clone)]
pub struct ClassificationHead {
    family: Family,
    pooler: Option<HeadLayer>,
    stored_dense: Option<HeadLayer>,
    stored_classifier: Option<HeadLayer>,
}

impl ClassificationHead {
    /// Reads what the file holds of a head.
    ///
    /// # Errors
    ///
    /// When a tensor has another shape than the family's.
    pub fn load(
        config: &ModelConfig,
        weights: &Weights<'_>,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let d_model = config.d_model;
        let layer = |name: &str, d_out: Option<usize>| {
            let shape = weights.shape(&format!("{name}.weight"));
            let d_out = d_out.or(shape.as_ref().and_then(|shape| shape.first().copied()));
            match (shape, d_out) {
                (Some(_), Some(d_out)) => {
                    HeadLayer::load(weights, name, [d_model, d_out], device).map(Some)
                }
                _ => Ok(None),
            }
        };
        let dense = layer("head.dense", Some(d_model))?;
        let frozen_dense = config.family == Family::Bert;
        Ok(Self {
            family: config.family,
            pooler: dense.clone().filter(|_| frozen_dense),
            stored_dense: dense.filter(|_| !frozen_dense),
            stored_classifier: layer("head.classifier", None)?,
        })
    }

    /// Whether the dense layer belongs to what is trained.
    pub fn trains_dense(&self) -> bool {
        self.pooler.is_none()
    }

    /// What the file says of a trained parameter of the head, if it has this shape; to start from.
    pub fn stored(&self, name: &ParameterName, shape: [usize; 2]) -> Option<Tensor<2>> {
        let dense = self.stored_dense.as_ref();
        let classifier = self.stored_classifier.as_ref();
        let stored = match name {
            ParameterName::HeadDenseWeight => dense.map(|layer| layer.weight.clone()),
            ParameterName::HeadDenseBias => dense.map(|layer| layer.bias.clone()),
            ParameterName::ClassifierWeight => classifier.map(|layer| layer.weight.clone()),
            ParameterName::ClassifierBias => classifier.map(|layer| layer.bias.clone()),
            ParameterName::LoraA { .. } | ParameterName::LoraB { .. } => None,
        };
        stored.filter(|tensor| tensor.dims() == shape)
    }

    /// What the trained part of the head reads: `tanh(pooler(x_0))` where the pooler is frozen,
    /// else `x_0` itself.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, 1, d_model]` or `[1, batch, d_model]`, the first positions
    /// - output: `[batch, d_model]`
    pub fn pooled(&self, x: Tensor<3>) -> Tensor<2> {
        let [outer, inner, d_model] = x.dims();
        let x = x.reshape([outer * inner, d_model]);
        match &self.pooler {
            Some(pooler) => pooler.forward(x).tanh(),
            None => x,
        }
    }

    /// # Shapes
    ///
    /// - x: as [`Self::pooled`]
    /// - output: `[batch, n_classes]`
    pub fn forward(&self, x: Tensor<3>, adapter: &Adapter) -> Tensor<2> {
        trained_head(self.family, self.pooled(x), adapter)
    }
}

/// The trained part of the task head: `classifier(activation(dense(pooled)))`, without the dense
/// layer where it is frozen. It runs where the labels are.
///
/// # Shapes
///
/// - pooled: `[batch, d_model]`, from [`ClassificationHead::pooled`]
/// - output: `[batch, n_classes]`
pub fn trained_head(family: Family, pooled: Tensor<2>, adapter: &Adapter) -> Tensor<2> {
    let inner = match adapter.head_dense() {
        Some(dense) => activation(family, dense.forward(pooled)),
        None => pooled,
    };
    adapter.classifier().forward(inner)
}

fn activation(family: Family, x: Tensor<2>) -> Tensor<2> {
    match family {
        Family::Bert | Family::Roberta => x.tanh(),
        Family::DistilBert => relu(x),
    }
}
