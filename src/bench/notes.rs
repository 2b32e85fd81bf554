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
    let mut seeds: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for part in parts {
        let Some(reason) = &part.failure else { continue };
        let failed = (part.model.as_str(), reason.as_str());
        match seeds.iter_mut().find(|(known, _)| *known == failed) {
            Some((_, seeds)) => seeds.push(part.seed.to_string()),
            None => seeds.push((failed, vec![part.seed.to_string()])),
        }
    }
    let sentence = |((model, reason), seeds): ((&str, &str), Vec<String>)| {
        let many = if seeds.len() > 1 { "s" } else { "" };
        format!("{model} failed on seed{many} {}, so it has no scores there: {reason}", seeds.join(", "))
    };
    seeds.into_iter().map(sentence).collect()
}
