//! Conditional models: samples follow their label, guidance sharpens, a dropped condition is the whole mixture.

use super::toys::*;
use genailab::{
    model::{
        diffusion::{
            Diffusion, DiffusionConfig, SampleConfig, Solver,
            net::{DitConditioning, DitConfig, ScoreNetConfig},
        },
        flow::{Flow, FlowConfig, TransportConfig},
    },
    ndarray::{Array2, Axis},
};
use std::sync::OnceLock;

fn model() -> &'static Diffusion {
    static MODEL: OnceLock<Diffusion> = OnceLock::new();
    MODEL.get_or_init(|| diffusion(&DiffusionConfig { net: small(), ..DiffusionConfig::default() }, true, 80))
}

fn samples(model: &Diffusion, component: usize, guidance: f64) -> Array2<f32> {
    let how = SampleConfig::ddim(40).guided(guidance);
    model.sample(500, Some(&label(component)), &how, component as u64).expect("it is trained")
}

/// Share of samples that are nearest to this component's centre.
fn right(x: &Array2<f32>, component: usize) -> f64 {
    let square = |row: &[f32; 2], centre: &[f32; 2]| (row[0] - centre[0]).powi(2) + (row[1] - centre[1]).powi(2);
    let nearest = |row: [f32; 2]| {
        (0..4).min_by(|&a, &b| square(&row, &CENTRES[a]).total_cmp(&square(&row, &CENTRES[b]))).expect("four")
    };
    let hits = x.rows().into_iter().filter(|row| nearest([row[0], row[1]]) == component).count();
    hits as f64 / x.nrows() as f64
}

#[test]
fn samples_follow_their_label() {
    for (component, centre) in CENTRES.iter().enumerate() {
        let x = samples(model(), component, 1.0);
        let (mean, std) = moments(&x);
        assert!(right(&x, component) > 0.95, "label {component}: {} at the right centre", right(&x, component));
        for axis in 0..2 {
            let off = (mean[axis] - f64::from(centre[axis])).abs();
            assert!(off < 0.3, "label {component}, axis {axis}: the mean is off by {off}");
            assert!((0.2..0.8).contains(&std[axis]), "label {component}, axis {axis}: spread {}", std[axis]);
        }
    }
}

#[test]
fn labels_of_many_rows_are_each_their_own() {
    let labels = Array2::from_shape_fn((600, 4), |(row, at)| f32::from(row % 4 == at));
    let x = model().sample(600, Some(&labels), &SampleConfig::ddim(40), 3).expect("it is trained");
    for component in 0..4 {
        let rows: Vec<usize> = (0..600).filter(|row| row % 4 == component).collect();
        assert!(right(&x.select(Axis(0), &rows), component) > 0.95, "label {component}");
    }
}

#[test]
fn the_other_ways_in_follow_their_label_too() {
    for conditioning in [DitConditioning::Tokens { count: 2 }, DitConditioning::CrossAttention { count: 2 }] {
        let net =
            ScoreNetConfig::Dit(DitConfig { group: 1, width: 32, depth: 2, heads: 2, embedding: 32, conditioning });
        let model = diffusion(&DiffusionConfig { net, ..DiffusionConfig::default() }, true, 40);
        for component in 0..4 {
            let share = right(&samples(&model, component, 1.0), component);
            assert!(share > 0.9, "{conditioning:?}, label {component}: {share} at the right centre");
        }
    }
}

#[test]
fn without_guidance_it_is_the_whole_mixture() {
    let whole = apart(&samples(model(), 0, 0.0), &mixture(500, 7).0);
    assert!(whole < 0.08, "guidance 0 is {whole} from the whole mixture");
}

/// Two classes that overlap, N(-1, 1) and N(1, 1) along the first axis. Guided samples have the density p(x | c) times a power
/// of p(c | x): they leave the part where the classes overlap, so that they lie closer together and further out.
#[test]
fn guidance_sharpens() {
    let rows = 2000;
    let label = Array2::from_shape_fn((rows, 1), |(row, _)| (row % 2) as f32);
    let mut x = genailab::model::flow::noise(rows, 2, 1);
    x.column_mut(0).zip_mut_with(&label.column(0), |x, label| *x += 2.0 * label - 1.0);
    let config = DiffusionConfig { net: small(), condition_dropout: 0.2, ..DiffusionConfig::default() };
    let mut model = Diffusion::new(2, 1, &config, 0, Default::default()).expect("it fits");
    model.fit(&x, Some(&label), None, &short(40), &mut silent()).expect("it trains");
    let draw = |guidance| {
        let how = SampleConfig::ddim(40).guided(guidance);
        model.sample(2000, Some(&Array2::ones((1, 1))), &how, 2).expect("it is trained")
    };
    let of = |guidance| {
        let x = draw(guidance);
        let share = x.column(0).iter().filter(|&&v| v > 0.0).count() as f64 / 2000.0;
        (share, moments(&x).0[0], moments(&x).1[0])
    };
    let (plain, strong) = (of(1.0), of(4.0));
    println!("share on its side, mean, spread: {plain:?} at guidance 1, {strong:?} at 4");
    assert!((plain.0 - 0.841).abs() < 0.05, "{} on their side, where the truth is 0.841", plain.0);
    assert!(strong.0 > 0.95, "{} on their side at guidance 4", strong.0);
    assert!(strong.1 > plain.1 + 0.2, "the mean is {} at guidance 4 and {} at 1", strong.1, plain.1);
    assert!(strong.2 < 0.92 * plain.2, "the spread is {} at guidance 4 and {} at 1", strong.2, plain.2);
}

/// x is N(u + v, 0.25) of a condition (u, v) whose last number is kept: guidance by 0 is the flow that knows v and not u.
#[test]
fn what_is_kept_of_a_condition_is_known_without_guidance() {
    let rows = 2000;
    let given = Array2::from_shape_fn((rows, 2), |(row, at)| if row / (1 + at) % 2 == 0 { 2.0 } else { -2.0 });
    let mut x = 0.5 * genailab::model::flow::noise(rows, 2, 1);
    x.column_mut(0).zip_mut_with(&given.sum_axis(Axis(1)), |x, mean| *x += mean);
    let config = FlowConfig { net: small(), condition_dropout: 0.2, condition_kept: 1, ..FlowConfig::default() };
    let mut flow = Flow::new(2, 2, &config, 0, Default::default()).expect("it fits");
    flow.fit(&x, Some(&given), &short(40), &mut silent()).expect("it trains");
    let of = |u: f32, v: f32, guidance: f64| {
        let how = TransportConfig::new(Solver::Heun, 10).guided(guidance);
        let condition = Array2::from_shape_vec((1, 2), vec![u, v]).expect("two numbers");
        moments(&flow.sample(1000, Some(&condition), &how, 2).expect("it is trained"))
    };
    for v in [-2.0, 2.0] {
        let ([told, withheld], truth) = ([of(2.0, v, 1.0), of(2.0, v, 0.0)], f64::from(v));
        println!("kept {v}: told {told:?}, withheld {withheld:?}");
        assert!((told.0[0] - 2.0 - truth).abs() < 0.3 && told.1[0] < 0.9, "told of both: {told:?}");
        assert!((withheld.0[0] - truth).abs() < 0.4, "{v} is kept, but the mean is {}", withheld.0[0]);
        assert!(withheld.1[0] > 1.5, "a spread of {} knows u", withheld.1[0]);
    }
}

/// The same noise under another label: what the sample would have been.
#[test]
fn a_counterfactual_keeps_the_noise_and_changes_the_label() {
    let x = samples(model(), 0, 1.0);
    let noise = model().encode(&x, Some(&label(0)), 60).expect("it is trained");
    let other = model().decode(&noise, Some(&label(2)), 60).expect("it is trained");
    assert!(right(&other, 2) > 0.95, "{} at the other label's centre", right(&other, 2));
    // The samples keep their order: what was left of its centre is so still.
    let centred = |x: &Array2<f32>| x - &x.mean_axis(Axis(0)).expect("rows");
    let (a, b) = (centred(&x), centred(&other));
    let correlation = (&a * &b).sum() / ((&a * &a).sum() * (&b * &b).sum()).sqrt();
    println!("correlation of deviations {correlation:.3}");
    assert!(correlation > 0.7, "deviations from the centres correlate by {correlation}");
}
