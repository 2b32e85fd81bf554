//! Densities of two dimensions whose samples can be told from others, and short trainings.

use genailab::{
    device::Device,
    eval::sets::{EDistance, edistance},
    model::{
        diffusion::{Diffusion, DiffusionConfig, net::ScoreNetConfig},
        flow::{Flow, FlowConfig},
    },
    ndarray::{Array2, Axis},
    train::{LearningRateSchedule, Progress, Run, TrainConfig},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Centres of the mixture; none is another's mirror image in a way that one coordinate alone would tell.
pub const CENTRES: [[f32; 2]; 4] = [[3.0, 1.0], [-1.0, 3.0], [-3.0, -1.0], [1.0, -3.0]];
/// Standard deviation of each component.
pub const SPREAD: f32 = 0.4;

/// Samples of the mixture `(n, 2)` and the one-hot label of each, `(n, 4)`.
pub fn mixture(n: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut x, mut label) = (Array2::zeros((n, 2)), Array2::zeros((n, 4)));
    for row in 0..n {
        let component = rng.random_range(0..4);
        label[[row, component]] = 1.0;
        for (axis, centre) in CENTRES[component].into_iter().enumerate() {
            x[[row, axis]] = centre + SPREAD * rng.sample::<f32, _>(rand_distr::StandardNormal);
        }
    }
    (x, label)
}

/// The label of a component, `(1, 4)`.
pub fn label(component: usize) -> Array2<f32> {
    Array2::from_shape_fn((1, 4), |(_, at)| f32::from(at == component))
}

/// Two interleaved half circles, `(n, 2)`.
pub fn moons(n: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut x = Array2::zeros((n, 2));
    for mut row in x.rows_mut() {
        let angle = std::f32::consts::PI * rng.random::<f32>();
        let (cx, cy, side) = if rng.random() { (-0.5, -0.25, 1.0) } else { (0.5, 0.25, -1.0) };
        row[0] = 2.0 * (cx + side * angle.cos()) + 0.1 * rng.sample::<f32, _>(rand_distr::StandardNormal);
        row[1] = 2.0 * (cy + side * angle.sin()) + 0.1 * rng.sample::<f32, _>(rand_distr::StandardNormal);
    }
    x
}

/// Energy distance of two sets: 0 for the same distribution.
pub fn apart(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    edistance(a.view(), b.view(), EDistance::Plain).expect("both have rows")
}

/// Mean and standard deviation of each column.
pub fn moments(x: &Array2<f32>) -> (Vec<f64>, Vec<f64>) {
    let x = x.mapv(f64::from);
    (x.mean_axis(Axis(0)).expect("rows").to_vec(), x.std_axis(Axis(0), 0.0).to_vec())
}

pub fn silent() -> Run<'static> {
    Run { progress: Progress::Silent, ..Run::default() }
}

pub fn short(epochs: usize) -> TrainConfig {
    let schedule = LearningRateSchedule::WarmupCosine { warmup_steps: 20, final_fraction: 0.01 };
    TrainConfig { epochs, batch_size: 256, learning_rate: 3e-3, schedule, clip_norm: Some(1.0), ..Default::default() }
}

pub fn small() -> ScoreNetConfig {
    ScoreNetConfig::film_mlp(64, 3)
}

/// A diffusion of the mixture, trained for so many epochs of 2,000 rows.
pub fn diffusion(config: &DiffusionConfig, conditional: bool, epochs: usize) -> Diffusion {
    let (x, label) = mixture(2000, 1);
    let mut model = Diffusion::new(2, if conditional { 4 } else { 0 }, config, 0, Device::Cpu).expect("it fits");
    let condition = conditional.then_some(&label);
    model.fit(&x, condition, None, &short(epochs), &mut silent()).expect("it trains");
    model
}

/// A flow from noise to the rows of x.
pub fn flow(config: &FlowConfig, x: &Array2<f32>, epochs: usize) -> Flow {
    let mut flow = Flow::new(x.ncols(), 0, config, 0, Device::Cpu).expect("it fits");
    flow.fit(x, None, &short(epochs), &mut silent()).expect("it trains");
    flow
}
