//! Perturbations as a condition encoder takes them: sets of embedding indices, with doses where the training had some.

use super::{
    model::{CountVae, on_device},
    vocabulary::Vocabulary,
};
use crate::{
    Result,
    data::{Perturbation, dose::name_and_dose},
    nn::DoseLevels,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The doses at which a perturbation was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DoseRange {
    /// The smallest.
    pub lowest: f64,
    /// The largest, at which the perturbation's embedding counts once.
    pub highest: f64,
}

/// The learned curve of a perturbation: see [`Doser`](crate::nn::Doser).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoseCurve {
    /// The perturbation without its dose.
    pub name: String,
    /// The doses of training.
    pub doses: DoseRange,
    /// k, the dose at which the curve is half of what it saturates at, in the unit of the doses.
    pub half_dose: f64,
    /// h, the slope: 1 for a simple saturation, more for a threshold.
    pub slope: f64,
}

impl CountVae {
    /// The learned dose-response curves, one per perturbed name; none where training had no doses.
    pub fn dose_curves(&self) -> Vec<DoseCurve> {
        let curves = on_device!(&self.net, net => net.dose_curves());
        let names = self.vocabulary.perturbed.iter().zip(&self.vocabulary.doses);
        let curve = |((name, &doses), (log_half, slope)): ((&String, &DoseRange), (f32, f32))| DoseCurve {
            name: name.clone(),
            doses,
            half_dose: doses.highest * f64::from(log_half).exp(),
            slope: slope.into(),
        };
        names.zip(curves).map(curve).collect()
    }
}

/// Perturbations, encoded.
#[derive(Debug, Clone, Default)]
pub struct EncodedPerturbations {
    /// Indices of each: into `levels` where there are doses, else into [`Vocabulary::perturbed`].
    pub sets: Vec<Vec<u32>>,
    /// The doses that the sets name.
    pub levels: Option<Arc<DoseLevels>>,
}

impl EncodedPerturbations {
    /// The first set.
    pub fn first(&self) -> &[u32] {
        self.sets.first().map_or(&[], Vec::as_slice)
    }
}

impl Vocabulary {
    /// Encodes several perturbations.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn encode_all<'a>(
        &self,
        perturbations: impl IntoIterator<Item = &'a Perturbation>,
    ) -> Result<EncodedPerturbations> {
        let perturbations: Vec<&Perturbation> = perturbations.into_iter().collect();
        self.check(perturbations.iter().copied())?;
        let (mut levels, mut places) = (DoseLevels::default(), HashMap::new());
        let mut index = |name: &str| {
            let (base, dose) = name_and_dose(name);
            let entry = self.place_of(base).expect("it was just checked");
            let Some(range) = self.doses.get(entry) else { return entry as u32 };
            *places.entry((entry, dose.to_bits())).or_insert_with(|| {
                levels.entries.push(entry as u32);
                levels.log_dose.push((dose / range.highest).ln() as f32);
                levels.entries.len() as u32 - 1
            })
        };
        let sets = perturbations.iter().map(|p| p.genes().iter().map(|name| index(name)).collect()).collect();
        Ok(EncodedPerturbations { sets, levels: self.knows_doses().then(|| Arc::new(levels)) })
    }

    /// Whether training had doses other than 1.
    pub fn knows_doses(&self) -> bool {
        !self.doses.is_empty()
    }

    /// Where a name without its dose stands in [`Self::perturbed`].
    pub(super) fn place_of(&self, base: &str) -> Option<usize> {
        self.perturbed.binary_search_by(|known| known.as_str().cmp(base)).ok()
    }

    /// ln(k / highest dose) that the curve of each perturbation starts with: k in the middle of its doses, on a log scale.
    pub(super) fn first_half_doses(&self) -> Vec<f32> {
        self.doses.iter().map(|range| (0.5 * (range.lowest / range.highest).ln()) as f32).collect()
    }
}

/// The names without their doses, sorted, and the range of doses of each; no ranges where all doses are 1.
pub(super) fn perturbed_names<'a>(
    perturbations: impl Iterator<Item = &'a Perturbation>,
) -> (Vec<String>, Vec<DoseRange>) {
    let mut ranges: BTreeMap<&str, DoseRange> = BTreeMap::new();
    for (base, dose) in perturbations.flat_map(Perturbation::genes).map(|name| name_and_dose(name)) {
        let range = ranges.entry(base).or_insert(DoseRange { lowest: dose, highest: dose });
        *range = DoseRange { lowest: range.lowest.min(dose), highest: range.highest.max(dose) };
    }
    let plain = ranges.values().all(|range| (range.lowest, range.highest) == (1.0, 1.0));
    let doses = if plain { Vec::new() } else { ranges.values().copied().collect() };
    (ranges.into_keys().map(str::to_owned).collect(), doses)
}
