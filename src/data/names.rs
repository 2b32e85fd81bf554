//! Names of genes: made unique, and looked up with an error that helps.

use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// Names shown in an error message.
const SHOWN: usize = 5;

/// Makes names unique as scanpy's `var_names_make_unique` does: the second `A` becomes `A-1`, the third `A-2`, and so
/// on, numbers that are taken being passed over. Gives back how many were renamed.
pub fn make_unique(names: &mut [String]) -> usize {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    if taken.len() == names.len() {
        return 0;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut renamed = 0;
    for name in names {
        match seen.get_mut(name.as_str()) {
            None => {
                seen.insert(name.clone(), 0);
            }
            Some(number) => {
                let unique = loop {
                    *number += 1;
                    let unique = format!("{name}-{number}");
                    if taken.insert(unique.clone()) {
                        break unique;
                    }
                };
                *name = unique;
                renamed += 1;
            }
        }
    }
    renamed
}

/// The place of `name` among `names`.
///
/// # Errors
/// It is not there; the message gives names that are close to it. `what` says what is looked for ("gene").
pub fn position(what: &str, name: &str, names: &[String]) -> Result<usize> {
    names.iter().position(|known| known == name).ok_or_else(|| {
        let close = closest(name, names);
        let hint = if close.is_empty() {
            format!("the {} known are {}", names.len(), first(names))
        } else {
            format!("did you mean {}?", close.join(", "))
        };
        Error::config(format!("there is no {what} {name:?} in this dataset; {hint}"))
    })
}

/// The first few of `names`, and that there are more.
pub(crate) fn first(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, … ({} in all)", names.len()) } else { shown }
}

/// Up to three names within an edit distance of a third of the name's length, closest first; case is not counted.
fn closest(name: &str, names: &[String]) -> Vec<String> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let limit = (wanted.len() / 3).max(1);
    let mut close: Vec<(usize, &String)> = names
        .iter()
        .filter(|known| known.len().abs_diff(name.len()) <= limit)
        .map(|known| (edit_distance(&wanted, &known.to_lowercase().chars().collect::<Vec<_>>()), known))
        .filter(|&(distance, _)| distance <= limit)
        .collect();
    close.sort();
    close.into_iter().take(3).map(|(_, known)| known.clone()).collect()
}

/// Levenshtein distance: insertions, deletions and substitutions.
pub fn edit_distance(left: &[char], right: &[char]) -> usize {
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut diagonal = above[0];
        above[0] = row + 1;
        for (column, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = above[column + 1];
            above[column + 1] = substituted.min(diagonal + 1).min(above[column] + 1);
        }
    }
    above[right.len()]
}
