//! How a run begins at the client: what of it is trained here, and with which first values.

use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::SysRng;
use rand_chacha::ChaCha8Rng;
use shared::adapter::{Adapter, LoraConfig};
use shared::protocol::message::{BottomTraining, LabelPlace};
use shared::protocol::tensor::ActivationDtype;

use super::{Exchange, HeadSide, KeptExamples};
use shared::privacy::BottomInput;

use crate::bottom_adapter::BottomAdapter;
use crate::client::system_rng;
use crate::error::ClientError;
use crate::head::TaskHead;
use crate::job::Plan;
use crate::label_defence::LabelDefence;
use crate::pipeline::Pipeline;
use crate::session::Session;

impl Exchange {
    /// A run of this session; none where nothing is trained here.
    ///
    /// # Errors
    ///
    /// When a setting is not usable, a batch would not fit a frame, or the system has no
    /// randomness.
    pub(crate) fn begin(
        session: &Session,
        pipeline: &Pipeline,
        plan: &Plan,
        kept: &KeptExamples,
        dtype: ActivationDtype,
    ) -> Result<Option<Self>, ClientError> {
        let hello = session.agreed();
        if (hello.labels, hello.bottom) == (LabelPlace::Server, BottomTraining::Frozen) {
            return Ok(None);
        }
        let (model, settings) = (pipeline.bottom.config(), &plan.settings);
        let lora = LoraConfig::try_from(&hello.adapter).map_err(|error| ClientError::Option {
            name: "adapter",
            problem: error.to_string(),
        })?;
        let mut rng =
            ChaCha8Rng::try_from_rng(&mut SysRng).map_err(|_| ClientError::NoRandomness)?;
        let n_classes = hello.n_classes as usize;
        let head = match hello.labels {
            LabelPlace::Server => None,
            LabelPlace::Client => {
                let dense = session.trains_dense();
                let device = Device::flex();
                let first = Adapter::init_head(&lora, model, dense, n_classes, &mut rng, &device);
                Some(HeadSide {
                    head: TaskHead::new(&first, model, settings),
                    defence: defence(plan.label_noise, n_classes, model.d_model)?,
                    n_classes,
                })
            }
        };
        let bottom = match hello.bottom {
            BottomTraining::Frozen => None,
            BottomTraining::Lora => {
                let d_model = u32::try_from(model.d_model).unwrap_or(u32::MAX);
                check_batches(session, plan, kept, dtype, d_model)?;
                let layers = 0..pipeline.bottom.cut().index();
                let device = pipeline.bottom.device();
                let first = Adapter::init_lora(&lora, model, layers, &mut rng, device);
                Some(BottomAdapter::new(first, settings))
            }
        };
        let run = Self::new(settings.clone(), kept, dtype, system_rng()?, head, bottom);
        Ok(Some(run))
    }
}

fn defence(
    strength: f64,
    n_classes: usize,
    d_model: usize,
) -> Result<Option<LabelDefence>, ClientError> {
    if strength <= 0.0 {
        return Ok(None);
    }
    let rng = system_rng()?;
    Ok(Some(LabelDefence::new(strength, n_classes, d_model, rng)))
}

/// Holds the largest batch that the server may ask for against one frame.
fn check_batches(
    session: &Session,
    plan: &Plan,
    kept: &KeptExamples,
    dtype: ActivationDtype,
    d_model: u32,
) -> Result<(), ClientError> {
    let seq_lengths: Vec<u16> = kept.inputs.iter().map(BottomInput::seq_length).collect();
    // What comes back is never narrower than f16.
    let value_bytes = dtype.value_bytes().max(ActivationDtype::F16.value_bytes());
    let limits = session.limits();
    let fits = plan
        .settings
        .check_batch_bytes(&seq_lengths, d_model, value_bytes, limits);
    fits.map_err(|error| ClientError::Option {
        name: "batch size",
        problem: format!(
            "a batch of the longest texts has {} bytes; the server takes {}. Choose a smaller one",
            error.actual, error.expected
        ),
    })
}
