//! The built-in landscape: genes with made-up names, singles in families, doubles of every interaction class.

use super::super::Perturbation;
use super::{
    InteractionClass, SimulationConfig,
    cell_types::CellTypes,
    classes::Pairing,
    doses,
    landscape::{CYCLE_PROGRAMS, Landscape, apportion, density, draw_lanes, draw_loadings, solve, theta_of},
};
use crate::{Error, Result, data::split::shuffle};
use ndarray::{Array1, Array2, ArrayView1};
use rand::Rng;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::StandardNormal;
use std::collections::BTreeMap;

/// Standard deviation of the log baseline expression over genes.
const BASE_SD: f64 = 1.4;
/// The human mitochondrial genes that code for proteins.
const MITOCHONDRIAL: [&str; 13] = [
    "MT-ND1", "MT-ND2", "MT-CO1", "MT-CO2", "MT-ATP8", "MT-ATP6", "MT-CO3", "MT-ND3", "MT-ND4L", "MT-ND4", "MT-ND5",
    "MT-ND6", "MT-CYB",
];
/// Their share of a healthy cell's counts.
const MITOCHONDRIAL_SHARE: f64 = 0.06;
/// Panels smaller than this have no mitochondrial genes: 13 of them would be too large a part.
const LEAST_GENES_WITH_MITOCHONDRIA: usize = 200;
/// Root-mean-square log-effect of a strong single over all genes, and of a weak one.
const STRONG_RMS: f64 = 0.3;
const WEAK_RMS: f64 = 0.1;
/// No single moves a gene by more than this, in log units (the perturbed gene itself apart): effects are squashed by a
/// tanh.
const LARGEST_EFFECT: f64 = 1.2;
/// Correlation of the program shifts and targets of two singles of one family.
const FAMILY_CORRELATION: f64 = 0.9;
/// Two singles whose effects correlate less than this, either way, are unrelated.
const UNRELATED_BELOW: f64 = 0.4;
/// Probability that a gene is a direct target of a perturbation, and the weight of direct targets beside programs.
const TARGET_PROBABILITY: f64 = 0.05;
const TARGET_SD: f64 = 1.0;
/// Programs that a perturbation shifts.
const SHIFTED_PROGRAMS: usize = 3;
/// CRISPR activation: by how much the perturbed gene itself goes up, in log units.
const ACTIVATION: std::ops::Range<f64> = 2.0..3.5;

/// Purposes of random streams of their own; see [`stream`].
const TYPES_STREAM: u64 = 4;
const TRIPLES_STREAM: u64 = 5;
const DOSES_STREAM: u64 = 6;

/// The effects of doubles without activations, by their singles in order.
type Doubles = BTreeMap<(usize, usize), Array1<f64>>;

impl Landscape {
    /// The landscape of `config`; the same for the same seed.
    pub fn built_in(config: &SimulationConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let per_class = config.doubles_per_class;
        // 2 classes pair similar singles and each pair takes a family of two; one class takes weak singles.
        let least_singles = (5 * per_class).max(2);
        if config.n_singles < least_singles {
            return Err(Error::config(format!(
                "{} singles are too few for {per_class} doubles of each interaction class; at least {least_singles} are \
                 needed",
                config.n_singles
            )));
        }
        let n_genes = config.n_genes;
        if n_genes < 2 * config.n_singles || n_genes < 20 {
            return Err(Error::config(format!(
                "{n_genes} genes are too few for {} singles; at least {} are needed",
                config.n_singles,
                (2 * config.n_singles).max(20)
            )));
        }
        let (genes, mitochondrial) = name_genes(n_genes);
        let log_base = draw_baseline(&mitochondrial, rng);
        let loadings = draw_loadings(config.n_programs, &mitochondrial, 1.0, rng);
        let lanes = draw_lanes(config.n_lanes, n_genes, rng);

        let targets = choose_targets(&log_base, &mitochondrial, config.n_singles, rng);
        let singles = draw_singles(&loadings, &mitochondrial, config.n_singles, per_class, rng);
        let activation: Vec<f64> = targets.iter().map(|_| rng.random_range(ACTIVATION)).collect();
        let activate = |mut effect: Array1<f64>, members: &[usize]| {
            members.iter().for_each(|&single| effect[targets[single]] = activation[single]);
            effect
        };
        let name = |members: &[usize]| Perturbation::of(members.iter().map(|&single| genes[targets[single]].clone()));

        let mut rows = vec![(Perturbation::control(), Array1::zeros(n_genes), None)];
        for (single, effect) in singles.iter().enumerate() {
            rows.push((name(&[single]), activate(effect.clone(), &[single]), None));
        }
        let mut doubles = BTreeMap::new();
        for (class, first, second) in choose_pairs(&singles, per_class, rng)? {
            let recipe = class.recipe();
            let mut effect = recipe.first * &singles[first] + recipe.second * &singles[second];
            if recipe.residual > 0.0 {
                let size = recipe.residual * f64::midpoint(rms(singles[first].view()), rms(singles[second].view()));
                let novel = direction(&loadings, &mitochondrial, rng);
                effect += &scaled(orthogonal(novel, &singles[first], &singles[second]), size);
            }
            doubles.insert((first.min(second), first.max(second)), effect.clone());
            rows.push((name(&[first, second]), activate(effect, &[first, second]), Some(class)));
        }
        for members in choose_triples(&doubles, singles.len(), config)? {
            rows.push((name(&members), activate(triple_effect(&members, &singles, &doubles), &members), None));
        }
        let mut dose_curves = Vec::new();
        if !config.doses.is_empty() {
            dose_curves = doses::draw(&rows, &config.doses, &mut stream(config.seed, DOSES_STREAM));
            rows = doses::at_each(rows, &config.doses, &dose_curves);
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));

        let mut shares = vec![(1.0 - config.control_fraction) / (rows.len() - 1) as f64; rows.len()];
        shares[0] = config.control_fraction;
        let mut log_effects = Array2::zeros((rows.len(), n_genes));
        rows.iter().zip(log_effects.rows_mut()).for_each(|((_, effect, _), mut row)| row.assign(effect));
        let mut landscape = Self {
            genes,
            log_base,
            theta: Vec::new(),
            loadings,
            lanes,
            remainder: 0.0,
            cells: apportion(config.n_cells, &shares),
            classes: rows.iter().map(|row| row.2).collect(),
            perturbations: rows.into_iter().map(|row| row.0).collect(),
            log_effects,
            median_library: 0.0,
            library_sd: config.library_size_sd,
            damaged_fraction: if mitochondrial.contains(&true) { config.damaged_fraction } else { 0.0 },
            mitochondrial,
            cell_types: None,
            dose_curves,
        };
        if config.n_cell_types > 1 {
            let Self { loadings, mitochondrial, perturbations, log_effects, .. } = &landscape;
            let (n, mut rng) = (config.n_cell_types, stream(config.seed, TYPES_STREAM));
            landscape.cell_types =
                Some(CellTypes::draw(n, loadings, mitochondrial, perturbations, log_effects, &mut rng));
        }
        // Over all cells, perturbations spread a gene's expression as states do.
        let perturbed: f64 = landscape
            .log_effects
            .rows()
            .into_iter()
            .zip(&landscape.cells)
            .map(|(effect, &n)| rms(effect).powi(2) * n as f64)
            .sum();
        let types = landscape.cell_types.as_ref().map_or(0.0, |types| types.log_weight_variance(&landscape.loadings));
        let state = landscape.log_weight_variance() + types + perturbed / config.n_cells as f64;
        let size = config.library_size_sd.powi(2);
        let means = |library: f64| landscape.log_base.iter().map(move |b| library * b.exp());
        landscape.median_library = solve(|library| density(means(library), state, size), config.density, 1.0, 1e8);
        landscape.theta = landscape.log_base.iter().map(|b| theta_of(landscape.median_library * b.exp())).collect();
        Ok(landscape)
    }
}

/// Gene names, and which are mitochondrial (the last ones).
fn name_genes(n: usize) -> (Vec<String>, Vec<bool>) {
    let n_mito = if n < LEAST_GENES_WITH_MITOCHONDRIA { 0 } else { MITOCHONDRIAL.len() };
    let width = n.to_string().len();
    let plain = (1..=n - n_mito).map(|i| format!("G{i:0width$}"));
    let names = plain.chain(MITOCHONDRIAL.iter().take(n_mito).map(|&name| name.to_owned())).collect();
    (names, (0..n).map(|gene| gene >= n - n_mito).collect())
}

/// Log baseline shares that sum to 1, `(genes,)`.
fn draw_baseline(mitochondrial: &[bool], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let raw: Vec<f64> = mitochondrial.iter().map(|_| BASE_SD * rng.sample::<f64, _>(StandardNormal)).collect();
    let sum = |mito: bool| -> f64 {
        raw.iter().zip(mitochondrial).filter(|&(_, &is_mito)| is_mito == mito).map(|(x, _)| x.exp()).sum()
    };
    let (plain, mito) = (sum(false), sum(true));
    let share = if mito > 0.0 { MITOCHONDRIAL_SHARE } else { 0.0 };
    raw.iter()
        .zip(mitochondrial)
        .map(|(x, &is_mito)| x + if is_mito { (share / mito).ln() } else { ((1.0 - share) / plain).ln() })
        .collect()
}

/// The genes to perturb: expressed neither so little that nothing is seen of them nor so much that they rule the cell.
fn choose_targets(log_base: &[f64], mitochondrial: &[bool], n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut genes: Vec<usize> = (0..log_base.len()).filter(|&gene| !mitochondrial[gene]).collect();
    genes.sort_by(|&a, &b| log_base[a].total_cmp(&log_base[b]));
    // The middle half; there are at least twice as many genes as singles.
    let quarter = genes.len() / 4;
    let mut middle = genes[quarter..genes.len() - quarter].to_vec();
    shuffle(&mut middle, rng);
    middle.truncate(n);
    middle.sort_unstable();
    // Families are neighbours in this list; they should not be neighbours by name.
    shuffle(&mut middle, rng);
    middle
}

/// A random effect: some programs shifted, some genes targeted directly, `(genes,)`.
pub(super) fn direction(loadings: &Array2<f64>, untouched: &[bool], rng: &mut ChaCha8Rng) -> Array1<f64> {
    let mut effect = Array1::from_shape_fn(untouched.len(), |gene| {
        let (hit, size) = (rng.random::<f64>() < TARGET_PROBABILITY, rng.sample::<f64, _>(StandardNormal));
        if hit && !untouched[gene] { TARGET_SD * size } else { 0.0 }
    });
    for _ in 0..SHIFTED_PROGRAMS {
        let program = rng.random_range(CYCLE_PROGRAMS as u32..loadings.nrows() as u32) as usize;
        effect.scaled_add(rng.sample(StandardNormal), &loadings.row(program));
    }
    effect
}

/// What of `effect` neither `a` nor `b` holds.
fn orthogonal(mut effect: Array1<f64>, a: &Array1<f64>, b: &Array1<f64>) -> Array1<f64> {
    let across = b - &(a * (a.dot(b) / a.dot(a)));
    for known in [a, &across] {
        let share = effect.dot(known) / known.dot(known);
        effect.scaled_add(-share, known);
    }
    effect
}

/// Effects of the singles without their own activation. Singles `2f` and `2f + 1` are a family; the last `n_weak` are
/// weak and have none.
fn draw_singles(
    loadings: &Array2<f64>,
    untouched: &[bool],
    n: usize,
    n_weak: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Array1<f64>> {
    let mut family = Array1::zeros(untouched.len());
    (0..n)
        .map(|single| {
            if single % 2 == 0 {
                family = scaled(direction(loadings, untouched, rng), 1.0);
            }
            let own = scaled(direction(loadings, untouched, rng), 1.0);
            if single >= n - n_weak {
                return scaled(own, WEAK_RMS);
            }
            // Shared and own part of weights sqrt(c) and sqrt(1 - c): two members correlate at c.
            let effect = FAMILY_CORRELATION.sqrt() * &family + (1.0 - FAMILY_CORRELATION).sqrt() * own;
            let strength = (0.25 * rng.sample::<f64, _>(StandardNormal)).exp();
            scaled(effect, STRONG_RMS * strength).mapv(|x| LARGEST_EFFECT * (x / LARGEST_EFFECT).tanh())
        })
        .collect()
}

/// The doubles: class, first and second single.
fn choose_pairs(
    singles: &[Array1<f64>],
    per_class: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<(InteractionClass, usize, usize)>> {
    let n_singles = singles.len();
    let n_strong = n_singles - per_class;
    let mut families: Vec<usize> = (0..n_strong / 2).collect();
    shuffle(&mut families, rng);
    let mut weak: Vec<usize> = (n_strong..n_singles).collect();
    let cosine = |a: usize, b: usize| {
        singles[a].dot(&singles[b]) / (rms(singles[a].view()) * rms(singles[b].view()) * singles[a].len() as f64)
    };
    let mut unrelated: Vec<(usize, usize)> = (0..n_strong)
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .filter(|&(a, b)| a / 2 != b / 2 && cosine(a, b).abs() < UNRELATED_BELOW)
        .collect();
    shuffle(&mut unrelated, rng);
    let mut used = vec![0_usize; n_singles];
    let mut pairs = Vec::with_capacity(8 * per_class);
    for class in InteractionClass::ALL.into_iter().flat_map(|class| std::iter::repeat_n(class, per_class)) {
        let pair = match class.pairing() {
            Pairing::Similar => families.pop().map(|family| (2 * family, 2 * family + 1)),
            Pairing::StrongAndWeak => {
                weak.pop().zip((0..n_strong).min_by_key(|&single| used[single])).map(|(b, a)| (a, b))
            }
            Pairing::Unrelated => {
                // The pair whose singles stand in the fewest doubles so far, so that doubles spread over the singles.
                let best = (0..unrelated.len()).min_by_key(|&i| used[unrelated[i].0] + used[unrelated[i].1]);
                best.map(|i| unrelated.remove(i))
            }
        };
        let (first, second) = pair.ok_or_else(|| {
            Error::config(format!("{n_singles} singles are too few for {per_class} doubles of class {class}"))
        })?;
        used[first] += 1;
        used[second] += 1;
        pairs.push((class, first, second));
    }
    Ok(pairs)
}

/// Random numbers of their own for what a default simulation has not, so that its other numbers stay as they are.
fn stream(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

/// Distinct triples of singles: each a double and a single that is not in it.
fn choose_triples(doubles: &Doubles, n_singles: usize, config: &SimulationConfig) -> Result<Vec<[usize; 3]>> {
    let all = doubles.keys().flat_map(|&(a, b)| (0..n_singles).map(move |c| [a, b, c]));
    let mut triples: Vec<[usize; 3]> = all.filter(|[a, b, c]| c != a && c != b).collect();
    triples.iter_mut().for_each(|members| members.sort_unstable());
    triples.sort_unstable();
    triples.dedup();
    if config.n_triples > triples.len() {
        return Err(Error::config(format!(
            "{} triples are asked for, and {} doubles and {n_singles} singles make {}",
            config.n_triples,
            doubles.len(),
            triples.len()
        )));
    }
    shuffle(&mut triples, &mut stream(config.seed, TRIPLES_STREAM));
    triples.truncate(config.n_triples);
    Ok(triples)
}

/// The effect of a triple without its activations: `sum_i d_i + sum over its simulated doubles of (d_ij - d_i - d_j)`.
fn triple_effect(members: &[usize; 3], singles: &[Array1<f64>], doubles: &Doubles) -> Array1<f64> {
    let [a, b, c] = *members;
    let mut effect = &singles[a] + &singles[b] + &singles[c];
    for (i, j) in [(a, b), (a, c), (b, c)] {
        if let Some(double) = doubles.get(&(i, j)) {
            effect += &(double - &singles[i] - &singles[j]);
        }
    }
    effect
}

pub(super) fn rms(effect: ArrayView1<f64>) -> f64 {
    (effect.dot(&effect) / effect.len() as f64).sqrt()
}

/// `effect` with its root-mean-square brought to `size`.
pub(super) fn scaled(effect: Array1<f64>, size: f64) -> Array1<f64> {
    let rms = rms(effect.view());
    if rms > 0.0 { effect * (size / rms) } else { effect }
}
