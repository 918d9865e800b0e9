//! Ways in which a label shows in gradients and activations. Pure functions of plain vectors.

use burn::tensor::Device;
use serde::Serialize;

use super::classifier::{Architecture, Classifier, Labelled};
use super::cluster::{k_means, spectral};
use super::features::{Features, Scaler, norm};
use crate::audit::AuditError;

/// What is computed of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// `ln ||g||`: the rarer a class, the less sure the model and the longer the gradient. Source:
    /// Li et al., arXiv 2102.08504, section 3.
    Norm,
    /// Cosine with one vector a class, each as far in angle as can be from those before, the
    /// longest first: gradients of one class point one way. Source: as above.
    Cosine,
    /// Mean cosine with the known examples of a class, less that with the others.
    Hint,
    /// k-means, one cluster a class.
    KMeans,
    /// k-means on the directions of largest spread, one a class less one. Source: Sun et al.,
    /// arXiv 2203.01451, section 3.
    Spectral,
    /// Logistic regression on all known examples.
    Logistic,
}

impl Method {
    /// Every method, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self::Norm,
        Self::Cosine,
        Self::Hint,
        Self::KMeans,
        Self::Spectral,
        Self::Logistic,
    ];

    /// For a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Norm => "norm",
            Self::Cosine => "cosine",
            Self::Hint => "hint",
            Self::KMeans => "k-means",
            Self::Spectral => "spectral",
            Self::Logistic => "logistic",
        }
    }
}

/// What the vectors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The gradient of each example's loss, as the server receives it. Their directions are
    /// compared, not centred: which side of zero a gradient lies on is what tells.
    Gradients,
    /// Pooled activations of each example, all columns to one scale.
    Activations,
}

/// Known examples of a class that name what the unsupervised methods find.
pub const HINTS: usize = 5;

/// A score of each class for each observed vector.
///
/// The unsupervised methods give columns without names; a class takes the column that sets its
/// hints apart best, so an attacker who knows [`HINTS`] labels a class is assumed throughout.
///
/// # Shapes
///
/// - output: `[observed][n_classes]`
///
/// # Errors
///
/// [`AuditError::NotApplicable`] when nothing is known of a class or there is only one; or when
/// the device fails.
pub(crate) fn label_scores(
    method: Method,
    evidence: Evidence,
    observed: &Features,
    known: Labelled<'_>,
    seed: u64,
    device: &Device,
) -> Result<Vec<Vec<f32>>, AuditError> {
    let hints = hints(known)?;
    let chosen: Vec<usize> = hints.iter().flatten().copied().collect();
    let hinted = known.features.select(&chosen);
    // Class by class, as `chosen` is.
    let classes: Vec<usize> = hints
        .iter()
        .enumerate()
        .flat_map(|(class, own)| own.iter().map(move |_| class))
        .collect();
    let prepare = |features: &Features| match evidence {
        Evidence::Gradients => features.clone().directions(),
        Evidence::Activations => Scaler::of(observed).apply(features.clone()),
    };
    let n_classes = known.n_classes;
    let together = || prepare(&observed.joined(&hinted));
    let columns = match method {
        Method::Norm => log_norms(&observed.joined(&hinted)),
        Method::Cosine => cosines(observed, &prepare(observed), &together(), n_classes),
        Method::KMeans => k_means(&together(), n_classes, seed),
        Method::Spectral => {
            let spread = spectral(&together(), n_classes.saturating_sub(1), seed);
            k_means(&spread, n_classes, seed)
        }
        Method::Hint => {
            let hinted = prepare(&hinted).directions();
            let observed = prepare(observed).directions();
            return Ok(hint_scores(&observed, &hinted, &classes, n_classes));
        }
        Method::Logistic => {
            let features = prepare(known.features);
            let labelled = Labelled {
                features: &features,
                ..known
            };
            let architecture = Architecture::Linear;
            let trained = Classifier::train(labelled, architecture, seed, device, &|_| ())?;
            return trained.scores(prepare(observed));
        }
    };
    let (columns, of_hints) = columns.split_at(observed.len());
    Ok(named(columns, of_hints, &classes, n_classes))
}

/// Indices of at most [`HINTS`] known examples of each class.
fn hints(known: Labelled<'_>) -> Result<Vec<Vec<usize>>, AuditError> {
    let mut hints = vec![Vec::new(); known.n_classes];
    for (at, class) in known.classes.iter().enumerate().take(known.features.len()) {
        if let Some(own) = hints.get_mut(*class as usize)
            && own.len() < HINTS
        {
            own.push(at);
        }
    }
    if hints.len() < 2 || hints.iter().any(Vec::is_empty) {
        return Err(AuditError::NotApplicable {
            reason: "the attacker knows no example of a class",
        });
    }
    Ok(hints)
}

/// `ln ||g||` and its negative: which of the classes has the longer gradients is not said.
fn log_norms(features: &Features) -> Vec<Vec<f32>> {
    let rows = features.rows().map(|row| {
        let log = norm(row).max(f64::MIN_POSITIVE).ln() as f32;
        vec![log, -log]
    });
    rows.collect()
}

/// Cosine of every vector with one reference a class.
fn cosines(
    observed: &Features,
    prepared: &Features,
    together: &Features,
    n_classes: usize,
) -> Vec<Vec<f32>> {
    let directions = prepared.clone().directions();
    let directions: Vec<&[f32]> = directions.rows().collect();
    let longest = observed.rows().enumerate();
    let longest = longest.max_by(|a, b| norm(a.1).total_cmp(&norm(b.1)));
    let mut references: Vec<&[f32]> = longest
        .and_then(|(at, _)| directions.get(at).copied())
        .into_iter()
        .collect();
    while references.len() < n_classes && !references.is_empty() {
        let nearest = |row: &[f32]| {
            let cosines = references.iter().map(|reference| dot(row, reference));
            cosines.fold(f32::NEG_INFINITY, f32::max)
        };
        let farthest = directions
            .iter()
            .min_by(|a, b| nearest(a).total_cmp(&nearest(b)));
        references.extend(farthest.copied());
    }
    let together = together.clone().directions();
    let rows = together.rows().map(|row| {
        let cosines = references.iter().map(|reference| dot(row, reference));
        cosines.collect()
    });
    rows.collect()
}

fn hint_scores(
    observed: &Features,
    hinted: &Features,
    classes: &[usize],
    n_classes: usize,
) -> Vec<Vec<f32>> {
    let rows = observed.rows().map(|row| {
        let cosines: Vec<f32> = hinted.rows().map(|hint| dot(row, hint)).collect();
        let score = |class| contrast(&cosines, classes, class);
        (0..n_classes).map(score).collect()
    });
    rows.collect()
}

/// Gives every class the column that sets its hints apart best.
fn named(
    columns: &[Vec<f32>],
    of_hints: &[Vec<f32>],
    classes: &[usize],
    n_classes: usize,
) -> Vec<Vec<f32>> {
    let n_columns = of_hints.first().map_or(0, Vec::len);
    let best_column = |class: usize| {
        let benefit = |column: usize| {
            let own: Vec<f32> = of_hints.iter().map(|row| row[column]).collect();
            contrast(&own, classes, class)
        };
        (0..n_columns).max_by(|a, b| benefit(*a).total_cmp(&benefit(*b)))
    };
    let chosen: Vec<Option<usize>> = (0..n_classes).map(best_column).collect();
    let rows = columns.iter().map(|row| {
        let scores = chosen.iter().map(|column| column.map_or(0.0, |at| row[at]));
        scores.collect()
    });
    rows.collect()
}

/// Mean over the hints of a class less the mean over the others.
fn contrast(values: &[f32], classes: &[usize], class: usize) -> f32 {
    let mean = |own: bool| {
        let chosen = values.iter().zip(classes);
        let chosen: Vec<f32> = chosen
            .filter(|(_, c)| (**c == class) == own)
            .map(|(value, _)| *value)
            .collect();
        chosen.iter().sum::<f32>() / chosen.len().max(1) as f32
    };
    mean(true) - mean(false)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
