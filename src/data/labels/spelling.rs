//! What a label says by its spelling alone: control, perhaps control, no label, or the name of something perturbed.
//!
//! Screens spell their control cells in many ways (`non-targeting`, `sgNTC-1`, `NegCtrl0`, `INTERGENIC216151`, `DMSO_TF`). A
//! spelling is cut into words at everything that is neither letter nor digit; numbers, species and words such as `guide` at the
//! end, and `sg` at the beginning, say nothing; what is left is looked up. Some words mean control in one screen and something
//! else in another (`WT`, `rest`, `EV`): they are told apart from the sure ones, so that a user can be asked.

/// What a spelling says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::data) enum Spelling {
    /// Control in every screen that is known to use it.
    Control,
    /// Control in some screens.
    MaybeControl,
    /// Not a label: missing, unassigned, two cells.
    Unlabelled,
    /// The name of something that was perturbed.
    Name,
}

/// Control wherever it was seen: scPerturb, GEARS, Replogle 2022, Papalexi 2021, Norman 2019, Adamson 2016, the Perturb-seq
/// libraries of the Broad Institute, Tahoe-100M and others.
const CONTROL: [&str; 76] = [
    "control",
    "controls",
    "ctrl",
    "ctrls",
    "ctl",
    "cntrl",
    "nontargeting",
    "nontargetting",
    "nontargeted",
    "nontarget",
    "nontarg",
    "nontargets",
    "nontg",
    "notarget",
    "notargeting",
    "nospecifictarget",
    "nt",
    "ntc",
    "ntcs",
    "neg",
    "negative",
    "negatives",
    "negctrl",
    "negcontrol",
    "negativecontrol",
    "scramble",
    "scrambled",
    "scram",
    "scr",
    "safetargeting",
    "safetarget",
    "safeharbor",
    "safeharbour",
    "aavs1",
    "rosa26",
    "mock",
    "mocktreated",
    "mockinfected",
    "mocktransduced",
    "mocktransfected",
    "wildtype",
    "unperturbed",
    "nonperturbed",
    "noperturbation",
    "untreated",
    "nontreated",
    "notreatment",
    "nodrug",
    "nocompound",
    "uninfected",
    "noninfected",
    "untransduced",
    "nontransduced",
    "untransfected",
    "unedited",
    "unstimulated",
    "unstim",
    "nonstimulated",
    "nostim",
    "nostimulation",
    "noguide",
    "nogrna",
    "nosgrna",
    "vehicle",
    "veh",
    "dmso",
    "pbs",
    "lacz",
    "egfp",
    "gfp",
    "luciferase",
    "luc",
    "intergenic",
    "oneintergenicsite",
    "onenongenesite",
    "emptyvector",
];
/// Control in some screens, a treatment, a gene or no label in others.
const MAYBE_CONTROL: [&str; 27] = [
    "wt",
    "rest",
    "resting",
    "safe",
    "ev",
    "empty",
    "vector",
    "parental",
    "naive",
    "baseline",
    "basal",
    "background",
    "media",
    "medium",
    "saline",
    "water",
    "h2o",
    "sham",
    "placebo",
    "solvent",
    "reference",
    "con",
    "rosa",
    "nosite",
    "nongene",
    "gal4",
    "mcherry",
];
/// Said of cells whose perturbation is not known, or that are two.
const UNLABELLED: [&str; 21] = [
    "nan",
    "na",
    "none",
    "null",
    "missing",
    "blank",
    "unassigned",
    "notassigned",
    "unknown",
    "undetermined",
    "undetected",
    "notdetected",
    "unlabelled",
    "unlabeled",
    "ambiguous",
    "nocall",
    "nocalls",
    "multiplet",
    "multiplets",
    "doublet",
    "doublets",
];
/// Words at the end that say nothing of what is perturbed.
const ENDINGS: [&str; 22] = [
    "control", "controls", "ctrl", "ctrls", "human", "mouse", "hs", "mm", "hg19", "hg38", "mm10", "tf", "guide",
    "guides", "grna", "sgrna", "site", "cells", "cell", "vector", "only", "treated",
];
/// What guides are called in front of their target; in these letters only, so that the gene `SGK1` is none.
const PREFIXES: [&str; 8] = ["sgRNA", "gRNA", "shRNA", "siRNA", "guide", "sg", "sh", "si"];
/// A beginning that is control whatever number or place follows (`INTERGENIC_chr1_2345`).
const BEGINNINGS: [&str; 8] = [
    "nontargeting",
    "nontarget",
    "intergenic",
    "oneintergenicsite",
    "onenongenesite",
    "negctrl",
    "safetargeting",
    "scramble",
];

/// Reads a spelling. `is_gene` says whether exactly this name is that of a measured gene: `REST`, `WT1` and `NT5E` are genes,
/// whatever they resemble.
pub(in crate::data) fn spelling(name: &str, is_gene: impl Fn(&str) -> bool) -> Spelling {
    let name = name.trim();
    if !name.chars().any(char::is_alphanumeric) {
        return Spelling::Unlabelled;
    }
    let whole = joined(&words(name));
    if UNLABELLED.contains(&whole.as_str()) {
        return if is_gene(name) { Spelling::Name } else { Spelling::Unlabelled };
    }
    let without_prefix = PREFIXES.iter().find_map(|prefix| {
        let rest = name.strip_prefix(prefix)?;
        rest.starts_with(|c: char| !c.is_ascii_lowercase()).then_some(rest)
    });
    let spellings = [Some(name), without_prefix];
    let bases: Vec<(String, bool)> = spellings.into_iter().flatten().flat_map(bases).collect();
    if bases.iter().any(|(base, exact)| CONTROL.contains(&base.as_str()) && (*exact || !is_gene(name))) {
        return Spelling::Control;
    }
    // The gene `REST` is written in capitals, the resting cell hardly ever.
    let maybe = bases.iter().any(|(base, exact)| *exact && MAYBE_CONTROL.contains(&base.as_str()));
    match maybe && !is_gene(name) && name != "REST" {
        true => Spelling::MaybeControl,
        false => Spelling::Name,
    }
}

/// What may be looked up of a name, each with whether a number was *not* cut from within its last word (`NT5`, `WT1`).
fn bases(name: &str) -> Vec<(String, bool)> {
    let mut words = words(name);
    let mut found = vec![(joined(&words), true)];
    let without_number = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    if let Some(start) = BEGINNINGS.iter().find_map(|start| beginning(&words, start))
        && words[start..].iter().all(|word| is_place(word))
    {
        found.push((joined(&words[..start]), true));
    }
    // `DMSO (vehicle)`, `mock control`.
    if words.len() > 1 && words.iter().all(|word| CONTROL.contains(&word.as_str())) {
        found.push((words[0].clone(), true));
    }
    while words.len() > 1 && words.last().is_some_and(|word| is_number(word) || ENDINGS.contains(&word.as_str())) {
        words.pop();
        found.push((joined(&words), true));
    }
    found.push((without_number(&joined(&words)), false));
    found
}

/// How many words make up the beginning `start`.
fn beginning(words: &[String], start: &str) -> Option<usize> {
    (1..=words.len().min(3)).find(|&n| joined(&words[..n]) == start)
}

/// Letters and digits in runs, in lower case.
fn words(name: &str) -> Vec<String> {
    name.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn joined(words: &[String]) -> String {
    words.concat()
}

fn is_number(word: &str) -> bool {
    let digits = ["guide", "sg", "g", "rep", "v", "s", ""].iter().find_map(|prefix| word.strip_prefix(prefix));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// A number, a chromosome or another word of a guide's coordinates.
fn is_place(word: &str) -> bool {
    is_number(word) || word.len() <= 2 || word.starts_with("chr") || word == "p1p2" || ENDINGS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::{Spelling, spelling};

    #[test]
    fn genes_stay_genes_and_controls_are_seen() {
        let measured = ["REST", "NT5E", "NTRK1", "WT1", "SAFB", "NEGR1", "NT5"];
        let is_gene = |name: &str| measured.contains(&name);
        for gene in
            measured.into_iter().chain(["SGK1", "SCRIB", "PBX1", "LUC7L2", "CTRB1", "EVI5", "GFPT1", "NTS", "SHH"])
        {
            assert_eq!(spelling(gene, is_gene), Spelling::Name, "{gene}");
        }
        // As in a file whose genes were selected.
        for gene in ["REST", "NT5E", "NTRK1", "WT1", "SAFB", "NEGR1"] {
            assert_eq!(spelling(gene, |_| false), Spelling::Name, "{gene}");
        }
        for control in [
            "control",
            "NT5",
            "NT-1",
            "sgNTC-1",
            "NonTargeting_Human_0001",
            "INTERGENIC216151",
            "DMSO_TF",
            "shLuc",
            "INTERGENIC_chr1_2345",
            "Non-Targeting Control",
            "non-targeting_00012",
            "NO-TARGET",
            "DMSO (vehicle)",
            "DMSO_0.1%",
        ] {
            assert_eq!(spelling(control, |_| false), Spelling::Control, "{control}");
        }
        for asked in ["WT", "rest", "Safe", "EV", "WT_2"] {
            assert_eq!(spelling(asked, |_| false), Spelling::MaybeControl, "{asked}");
        }
        for none in ["", "nan", "NaN", "blank", "Unassigned", "*", "<NA>", "N/A"] {
            assert_eq!(spelling(none, |_| false), Spelling::Unlabelled, "{none:?}");
        }
    }
}
