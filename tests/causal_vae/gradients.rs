//! The loss that training descends: its gradient in every weight, and its parts by hand.

use crate::common::nudge::{Nudge, Steepest};
use genailab::{
    data::{Condition, Dataset, Simulation, SimulationConfig},
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, Tape},
    model::{
        CellSource, CellView, KlAnnealing, Vocabulary,
        causal_vae::{CausalBatch, CausalNet, CausalSource, CausalVaeConfig, Independence, ShiftPrior},
    },
    nn::{IndexSets, Params, ops, seeded},
    train::{BatchSource, Loss, StepContext, Trainable},
};
use std::sync::Arc;

const ROWS: usize = 32;

fn cells() -> (Dataset, Vec<Condition>, Vec<String>) {
    let config =
        SimulationConfig { n_cells: 700, n_genes: 120, seed: 3, n_cell_types: 2, ..SimulationConfig::default() };
    let data = Simulation::new(&config).expect("valid settings").dataset;
    let types = data.cells.column("cell_type").expect("two types").to_text();
    let of_cell =
        |cell: usize| Condition { perturbation: data.perturbation_of(cell).clone(), context: types[cell].clone() };
    let conditions: Vec<Condition> = (0..data.n_cells()).map(of_cell).collect();
    let mut known: Vec<String> = types.into_iter().flatten().collect();
    known.sort();
    known.dedup();
    (data, conditions, known)
}

fn config(independence: Independence, shift_prior: ShiftPrior, decoder: Vec<usize>) -> CausalVaeConfig {
    CausalVaeConfig {
        identity: 3,
        state: 4,
        technical: 2,
        encoder: vec![16],
        decoder,
        kl_annealing: KlAnnealing::Constant,
        independence,
        causal: 50.0,
        shift_prior,
        ..CausalVaeConfig::default()
    }
}

fn net(config: &CausalVaeConfig) -> (CausalNet<Cpu>, CausalBatch) {
    let (data, conditions, known) = cells();
    let rows: Vec<usize> = (0..ROWS).collect();
    let vocabulary = Vocabulary::of_cells(&data, &rows);
    let net = CausalNet::new(&Cpu::default(), &vocabulary, known.len(), config, &mut seeded(5)).expect("small");
    let view = CellView { total_library: false, with_target: false };
    let source = CellSource::new(&data, &rows, &vocabulary, view).expect("known perturbations");
    let batch = CausalSource::new(source, &conditions, &rows, &known).batch(&rows).expect("its rows");
    (net, batch)
}

/// The loss of a training step, with the same random numbers at every call.
fn loss<T: Tape<f32, Cpu>>(net: &mut CausalNet<Cpu>, batch: &CausalBatch, tape: T) -> Loss<Cpu, T> {
    let mut rng = seeded(9);
    let mut context = StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng: &mut rng };
    net.loss(batch, tape, &mut context).expect("finite")
}

/// Shifts of a usual size: near 0 the absolute value has no derivative.
fn move_shifts(net: &mut CausalNet<Cpu>, batch: &CausalBatch) {
    for element in 0..4 * genes_of(batch) {
        net.walk_mut("", &mut Nudge { name: "shifts.weight", element, step: 0.3 }).expect("a walk");
    }
}

/// Genes that are perturbed in the batch, and no other cell made the vocabulary.
fn genes_of(batch: &CausalBatch) -> usize {
    1 + *batch.cells.condition.perturbed.indices().iter().max().expect("perturbed cells") as usize
}

#[test]
fn every_weight_has_the_gradient_of_the_training_loss() {
    let hsic = Independence::Hsic { weight: 50.0 };
    for (independence, prior, decoder) in [
        (hsic, ShiftPrior::Normal { sd: 0.1 }, vec![]),
        (Independence::TotalCorrelation { weight: 2.0 }, ShiftPrior::Laplace { scale: 0.1 }, vec![8]),
    ] {
        let (mut net, batch) = net(&config(independence, prior, decoder));
        move_shifts(&mut net, &batch);
        let mut gradients = loss(&mut net, &batch, OwnedTape::default()).total.backward();
        let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
        net.walk("", &mut steepest).expect("a walk");
        assert!(steepest.found.len() >= 18, "{} tensors", steepest.found.len());
        for (name, element, gradient) in steepest.found {
            let step = 4e-3;
            let mut at = |step: f32| {
                net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
                f64::from(ops::to_f32(&loss(&mut net, &batch, NoneTape).total))
            };
            let (above, below) = (at(step), at(-2.0 * step));
            at(step);
            let numeric = (above - below) / (2.0 * f64::from(step));
            // A loss of about 200 nats is rounded to 1.5e-5: 4e-3 in the quotient.
            let error = (numeric - f64::from(gradient)).abs();
            assert!(
                error < 0.05 * numeric.abs() + 3e-2,
                "{independence:?} {name}[{element}]: gradient {gradient}, finite difference {numeric}"
            );
        }
    }
}

#[test]
fn the_loss_is_the_sum_of_its_parts() {
    let settings = config(Independence::Hsic { weight: 50.0 }, ShiftPrior::Normal { sd: 0.1 }, vec![]);
    let (mut net, batch) = net(&settings);
    move_shifts(&mut net, &batch);
    let Loss { total, parts } = loss(&mut net, &batch, NoneTape);
    let part = |name: &str| f64::from(parts.iter().find(|(found, _)| *found == name).expect("it is there").1);
    let by_hand = part("nll") + part("kl") + 50.0 * part("dependence") + 50.0 * part("causal");
    let every = Arc::new(IndexSets::from_indices((0..genes_of(&batch) as u32).collect()));
    let all = net.shift::<NoneTape>(&every).expect("known genes").as_vec();
    let shifts = all.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / (2.0 * 0.1_f64.powi(2));
    let found = f64::from(ops::to_f32(&total));
    assert!(shifts > 10.0 && (found - by_hand - shifts).abs() < 1e-4 * found, "{found} {by_hand} {shifts}");
}
