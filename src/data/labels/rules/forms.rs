//! The forms of single labels.

/// Whether nobody would doubt that a label means control.
pub(super) fn is_plainly_control(label: &str) -> bool {
    let plain = label.to_lowercase().replace(['-', '_', ' '], "");
    ["control", "ctrl", "ctrl+ctrl", "nontargeting", "nontarget", "nt", "ntc"].contains(&plain.as_str())
}

pub(super) fn joined(separator: &str, column: &str, example: &str) -> String {
    format!("`{separator}` was read as joining two genes in `{column}`, as in {:?}", short(example))
}

/// A label for a message; chains of guides can fill pages.
pub(super) fn short(label: &str) -> String {
    const MOST: usize = 60;
    if label.chars().count() <= MOST { label.to_owned() } else { label.chars().take(MOST).chain(['…']).collect() }
}

/// `TP53`, `HLA-A`, `C9orf72` is none: capitals and digits.
pub(super) fn is_symbol(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
}

/// `pDS258`, `pBA571`: a plasmid.
pub(super) fn looks_like_a_vector(ending: &str) -> bool {
    let Some(rest) = ending.strip_prefix('p') else { return false };
    let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
    letters >= 2 && rest.len() > letters + 1 && rest.bytes().skip(letters).all(|b| b.is_ascii_digit())
}

/// The gene of a guide whose name holds the strand: `TP53_+_7590687.23-P1P2`, `TP53_-_7590701.23-P1P2`.
pub(super) fn before_strand(name: &str) -> Option<&str> {
    ["_+_", "_-_"]
        .iter()
        .find_map(|strand| name.split_once(strand))
        .map(|(gene, _)| gene)
        .filter(|gene| !gene.is_empty())
}

/// Name and dose of each entry of a label such as `[('TP53', 1.0, 'uM')]`; `None` for other labels.
pub(super) fn tuples(label: &str) -> Option<Vec<(String, String)>> {
    let inner = label.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(label.trim());
    if !inner.trim_start().starts_with("('") && !inner.trim_start().starts_with("(\"") {
        return None;
    }
    let mut found = Vec::new();
    for tuple in inner.split_inclusive(')') {
        let Some((_, tuple)) = tuple.split_once('(') else { continue };
        let quote = tuple.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (name, rest) = tuple[1..].split_once(quote)?;
        let words = rest.trim_end_matches(')').split(',').map(|word| word.trim().trim_matches(['\'', '"']));
        found.push((name.to_owned(), words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")));
    }
    (!found.is_empty()).then_some(found)
}
