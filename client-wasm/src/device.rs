//! What computes at the client: WebGPU, or the CPU with a visible notice.

use burn::tensor::Device;
use shared::model::ModelConfig;
use shared::privacy::nearest::ROWS;

use crate::error::ClientError;
use crate::options::DeviceChoice;

/// A device, and what to tell the person about it.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// Where tensors are created.
    pub device: Device,
    /// `webgpu` or `cpu`.
    pub kind: &'static str,
    /// For people.
    pub name: String,
    /// Why it is not a GPU, where one was hoped for.
    pub notice: Option<String>,
}

/// Bytes of the largest tensor that the bottom and its protection put on a device: a table of the
/// embeddings, a matrix of a block, or the scores of a search over the vocabulary.
pub fn largest_tensor_bytes(config: &ModelConfig) -> u64 {
    let [vocab, d_model, d_ff] = [config.vocab_size, config.d_model, config.d_ff].map(bytes);
    let positions = bytes(config.seq_length_max + config.position_offset);
    let tensors = [
        vocab.saturating_mul(d_model),
        positions.saturating_mul(d_model),
        d_model.saturating_mul(d_ff),
        vocab.saturating_mul(bytes(ROWS)),
    ];
    tensors.into_iter().fold(0, u64::max).saturating_mul(4) // of an f32
}

fn bytes(count: usize) -> u64 {
    count as u64
}

/// The limits of a GPU that a model can be too large for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuLimits {
    /// `maxStorageBufferBindingSize`: what a shader can read as one.
    pub binding_bytes_max: u64,
    /// `maxBufferSize`: what can be reserved as one.
    pub buffer_bytes_max: u64,
}

/// A tensor is too large for a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "The model's largest table has {} MB, and this GPU takes at most {} MB at once",
    tensor_bytes.div_ceil(1_000_000),
    bytes_max / 1_000_000
)]
pub struct TooLargeForGpu {
    /// The tensor's.
    pub tensor_bytes: u64,
    /// The smaller of the limits.
    pub bytes_max: u64,
}

impl GpuLimits {
    /// Says whether a tensor can be used on this GPU.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn fit(&self, tensor_bytes: u64) -> Result<(), TooLargeForGpu> {
        let bytes_max = self.binding_bytes_max.min(self.buffer_bytes_max);
        if tensor_bytes <= bytes_max {
            return Ok(());
        }
        Err(TooLargeForGpu {
            tensor_bytes,
            bytes_max,
        })
    }
}

/// Opens a device that can read a tensor of `largest_tensor_bytes`. In a browser it can be opened
/// once.
///
/// # Errors
///
/// When a GPU was asked for and none can be used.
pub async fn open(
    choice: DeviceChoice,
    largest_tensor_bytes: u64,
) -> Result<OpenDevice, ClientError> {
    if choice == DeviceChoice::Cpu {
        return Ok(cpu(None));
    }
    match gpu(largest_tensor_bytes).await {
        Ok(device) => Ok(device),
        Err(problem) if choice == DeviceChoice::Gpu => Err(ClientError::Option {
            name: "device",
            problem,
        }),
        Err(problem) => Ok(cpu(Some(format!(
            "{problem}, so the model runs on the processor: the same result, more slowly."
        )))),
    }
}

fn cpu(notice: Option<String>) -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        kind: "cpu",
        name: cpu_name().to_owned(),
        notice,
    }
}

#[cfg(target_arch = "wasm32")]
fn cpu_name() -> &'static str {
    "processor (WebAssembly SIMD)"
}

#[cfg(not(target_arch = "wasm32"))]
fn cpu_name() -> &'static str {
    "processor"
}

/// The browser's GPU, or why there is none.
#[cfg(target_arch = "wasm32")]
async fn gpu(largest_tensor_bytes: u64) -> Result<OpenDevice, String> {
    let Some(probe) = crate::browser::probe_gpu().await else {
        return Err("This browser offers no WebGPU".to_owned());
    };
    let fit = probe.limits.fit(largest_tensor_bytes);
    fit.map_err(|error| error.to_string())?;
    match Device::wgpu_options().init_async().await {
        Ok(device) => Ok(OpenDevice {
            device,
            kind: "webgpu",
            name: probe.name,
            notice: None,
        }),
        Err(_) => Err("The GPU could not be started".to_owned()),
    }
}

/// A native GPU, or why there is none. The bottom is small: without being asked for, the processor
/// does.
#[cfg(not(target_arch = "wasm32"))]
async fn gpu(_largest_tensor_bytes: u64) -> Result<OpenDevice, String> {
    match Device::wgpu_options().init_with_setup_async().await {
        Ok((device, setup)) => {
            let name = setup.adapter.get_info().name;
            Ok(OpenDevice {
                device,
                kind: "webgpu",
                name,
                notice: None,
            })
        }
        Err(_) => Err("No GPU that can be used was found".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SMALLEST: GpuLimits = GpuLimits {
        binding_bytes_max: 134_217_728, // the least that WebGPU allows an adapter to have
        buffer_bytes_max: 268_435_456,
    };

    fn config(vocab_size: usize, hidden_size: usize) -> ModelConfig {
        let json = serde_json::json!({
            "model_type": "bert",
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "intermediate_size": 4 * hidden_size,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
        });
        ModelConfig::from_json(&serde_json::to_vec(&json).unwrap()).unwrap()
    }

    #[test]
    fn the_largest_tensor_of_a_model_is_counted() {
        // The word table: 4 * 30522 * 768.
        assert_eq!(largest_tensor_bytes(&config(30_522, 768)), 93_763_584);
        // A narrow model's search over its vocabulary: 4 * 30522 * 256.
        assert_eq!(largest_tensor_bytes(&config(30_522, 128)), 31_254_528);
        // A wide model with few words: 4 * 1024 * 4096.
        assert_eq!(largest_tensor_bytes(&config(100, 1024)), 16_777_216);
    }

    #[test]
    fn a_table_that_the_gpu_cannot_read_is_refused_in_words() {
        let bert = largest_tensor_bytes(&config(30_522, 768));
        assert_eq!(SMALLEST.fit(bert), Ok(()));
        let many_words = largest_tensor_bytes(&config(250_002, 768));
        let error = SMALLEST.fit(many_words).unwrap_err();
        assert_eq!(error.tensor_bytes, 768_006_144);
        assert_eq!(
            error.to_string(),
            "The model's largest table has 769 MB, and this GPU takes at most 134 MB at once"
        );
        // The smaller limit counts, whichever it is.
        let other = GpuLimits {
            binding_bytes_max: 1 << 40,
            buffer_bytes_max: 1000,
        };
        assert_eq!(other.fit(1000), Ok(()));
        assert_eq!(other.fit(1001).unwrap_err().bytes_max, 1000);
    }
}
