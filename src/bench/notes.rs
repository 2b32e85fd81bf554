//! What a benchmark says of its models beside their scores.

use super::parts::Part;
use std::collections::BTreeSet;

/// What to know of the scores of a prediction file: conditions that it lacks, and effects that are none.
pub(super) fn file_notes(name: &str, parts: &[Part]) -> Vec<String> {
    const EVERY: &str = "l2";
    let scored = |part: &Part| -> BTreeSet<String> {
        part.scores.iter().filter(|(_, metric, _)| metric == EVERY).map(|(condition, ..)| condition.clone()).collect()
    };
    let (mut missing, mut wanted, mut constant) = (BTreeSet::new(), BTreeSet::new(), 0);
    for part in parts.iter().filter(|part| part.model == name) {
        let judged = parts.iter().filter(|other| other.seed == part.seed);
        let judged: BTreeSet<String> = judged.flat_map(scored).collect();
        missing.extend(judged.difference(&scored(part)).cloned());
        wanted.extend(judged);
        constant += part.absent.iter().filter(|(metric, ..)| metric == "pearson").map(|(.., n)| n).sum::<usize>();
    }
    let missing: Vec<String> = missing.into_iter().collect();
    let mut notes = Vec::new();
    if !missing.is_empty() {
        let compared = match missing.len() < wanted.len() {
            true => "its means are over those alone and it is compared with other models on those",
            false => "it has no scores",
        };
        notes.push(format!(
            "{name} predicts {} of {} judged conditions, so {compared}; missing: {}",
            wanted.len() - missing.len(),
            wanted.len(),
            missing.join(", ")
        ));
    } else if constant > 0 {
        notes.push(format!(
            "{name} predicts no change, or the same for every gene, of {constant} conditions: a correlation is not defined there"
        ));
    }
    notes
}

/// One sentence per model that failed, and per reason: the seeds on which it did.
pub(super) fn failures<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<String> {
    let sentence = |model: &str, reason: &str, seeds: &str| {
        format!("{model} failed on {seeds}, so it has no scores there: {reason}")
    };
    by_seeds(parts, |part| part.failure.as_deref(), sentence)
}

/// One sentence per model that was trained otherwise than its settings say, and per way: the seeds on which it was.
pub(super) fn adjustments(parts: &[Part]) -> Vec<String> {
    by_seeds(parts.iter(), |part| part.adjusted.as_deref(), |model, what, seeds| format!("{model} on {seeds}: {what}"))
}

/// A sentence of model, text and seeds for each model and text that parts have.
fn by_seeds<'a>(
    parts: impl Iterator<Item = &'a Part>,
    text: impl Fn(&Part) -> Option<&str>,
    sentence: impl Fn(&str, &str, &str) -> String,
) -> Vec<String> {
    let mut found: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for part in parts {
        let Some(text) = text(part) else { continue };
        let said = (part.model.as_str(), text);
        match found.iter_mut().find(|(known, _)| *known == said) {
            Some((_, seeds)) => seeds.push(part.seed.to_string()),
            None => found.push((said, vec![part.seed.to_string()])),
        }
    }
    let sentence = |((model, text), seeds): ((&str, &str), Vec<String>)| {
        let many = if seeds.len() > 1 { "s" } else { "" };
        sentence(model, text, &format!("seed{many} {}", seeds.join(", ")))
    };
    found.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::{Part, adjustments};

    #[test]
    fn what_was_adjusted_is_said_once_with_its_seeds() {
        let part = |seed, adjusted: Option<&str>| Part {
            seed,
            model: "jepa".to_owned(),
            adjusted: adjusted.map(str::to_owned),
            ..Part::default()
        };
        let parts =
            [part(0, Some("64 features")), part(1, None), part(2, Some("64 features")), part(3, Some("128 features"))];
        assert_eq!(adjustments(&parts), ["jepa on seeds 0, 2: 64 features", "jepa on seed 3: 128 features"]);
    }
}
