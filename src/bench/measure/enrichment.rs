//! Gene sets: does the prediction point to the same pathways as the observed effect?
//!
//! Each condition's effect is tested on the user's gene sets, as predicted and as observed:
//!
//! | metric | meaning |
//! |---|---|
//! | `enrichment_spearman` | Spearman correlation over sets of the signed z of the Mann-Whitney test on the effect |
//! | `enrichment_jaccard` | sets significant in both by that test (BH-adjusted p < 0.05), of those significant in either |
//! | `overrepresentation_spearman` | Spearman correlation over sets of -log10 p of the hypergeometric test on the most changed genes |
//! | `overrepresentation_jaccard` | sets over-represented in both, of those over-represented in either |
//!
//! "Most changed" are the 100 genes of largest absolute effect (a tenth of all genes if that is less), on both sides, because
//! a predictor of means has no test that says which genes it changes. The tests are those of [`crate::eval::enrichment`].

use super::super::{MeasureOptions, ObservedEffects, Predicted, Scores};
use crate::{
    data::MeasuredSets,
    eval::{
        enrichment::{SIGNIFICANT, agreement, most_changed, over_representation, rank_enrichment, testable},
        spearman,
    },
};

const METRICS: [&str; 4] =
    ["enrichment_spearman", "enrichment_jaccard", "overrepresentation_spearman", "overrepresentation_jaccard"];

/// The observed side.
#[derive(Debug)]
pub(in super::super) struct EnrichmentTruth {
    sets: MeasuredSets,
    /// One per condition.
    of: Vec<Tests>,
}

/// What both tests say of one effect.
#[derive(Debug)]
struct Tests {
    /// z and significance of each set; `None` for an effect that is the same for all genes.
    rank: Option<(Vec<f32>, Vec<bool>)>,
    /// -log10 p and significance of each set; `None` for an effect of zero, of which no gene is the most changed.
    over: Option<(Vec<f32>, Vec<bool>)>,
}

impl Tests {
    fn of(effect: &[f32], sets: &MeasuredSets) -> Self {
        let significant = |p: &[f64]| p.iter().map(|&p| p < SIGNIFICANT).collect();
        let rank = rank_enrichment(effect, sets)
            .map(|test| (test.z.iter().map(|&z| z as f32).collect(), significant(&test.p_adjusted)));
        let over = rank.is_some().then(|| {
            let test = over_representation(&most_changed(effect), sets);
            (test.p_values.iter().map(|p| -p.log10() as f32).collect(), significant(&test.p_adjusted))
        });
        Self { rank, over }
    }
}

pub(super) fn measure(
    observed: &ObservedEffects,
    predicted: &Predicted,
    options: &MeasureOptions,
    scores: &mut Scores,
) {
    let truth = observed.memo.enrichment.get_or_init(|| {
        let sets = options.gene_sets.as_ref().ok_or("no gene sets were given (--gene-sets FILE.gmt)")?;
        let sets = testable(sets, &observed.genes).map_err(|error| error.to_string())?;
        Ok(EnrichmentTruth {
            of: observed.effects.rows().into_iter().map(|effect| Tests::of(&effect.to_vec(), &sets)).collect(),
            sets,
        })
    });
    let absent = |scores: &mut Scores, reason: &str, n| METRICS.iter().for_each(|name| scores.absent(name, reason, n));
    let truth = match truth {
        Ok(truth) => truth,
        Err(reason) => return absent(scores, reason, observed.conditions.len()),
    };
    for (index, condition) in observed.conditions.iter().enumerate() {
        let effect = match &predicted.effects[index] {
            Ok(effect) => effect.to_vec(),
            Err(reason) => {
                absent(scores, reason, 1);
                continue;
            }
        };
        let name = condition.to_string();
        let tests = Tests::of(&effect, &truth.sets);
        let pairs = [(&tests.rank, &truth.of[index].rank), (&tests.over, &truth.of[index].over)];
        for (metrics, (p, o)) in METRICS.chunks(2).zip(pairs) {
            let both = p.as_ref().zip(o.as_ref());
            let flat = "the effect is the same for all genes, or the score for all sets";
            scores.put(metrics[0], &name, both.and_then(|(p, o)| spearman(&p.0, &o.0)), flat);
            let reason = if both.is_some() { "no set is significant on either side" } else { flat };
            scores.put(metrics[1], &name, both.and_then(|(p, o)| agreement(&p.1, &o.1)), reason);
        }
    }
}
