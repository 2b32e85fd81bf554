//! Predicted embeddings beside those of held-out cells.

use super::response::{controls, simulated, trained, training};
use genailab::{
    data::{Condition, Perturbation},
    device::Device,
    model::{
        Model, Trained,
        jepa::{HeldOutEmbeddings, Jepa, JepaSettings, Phase, PredictionScores},
    },
    ndarray::{Array1, Array2, Axis},
    train::Run,
};

fn found(model: &Jepa) -> HeldOutEmbeddings {
    let (data, split) = simulated();
    model.held_out_embeddings(data, &split.test, 0).expect("its genes").expect("trained perturbations")
}

fn of<'a>(found: &'a HeldOutEmbeddings, name: &str) -> &'a PredictionScores {
    found.predictions.iter().find(|of| of.prediction == name).expect("a prediction of this name")
}

fn mean(z: &Array2<f32>) -> Array1<f64> {
    z.mapv(f64::from).mean_axis(Axis(0)).expect("cells")
}

#[test]
fn the_scores_of_means_are_those_of_plain_sums() {
    let ((data, split), model) = (simulated(), trained());
    let found = found(model);
    let single = data.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").clone();
    let held_out: Vec<usize> = split.test.iter().copied().filter(|&row| *data.perturbation_of(row) == single).collect();
    let condition = Condition::of(single);
    let scores = found.by_condition.iter().find(|of| of.condition == condition.to_string()).expect("it was held out");
    assert_eq!(scores.cells, held_out.len());
    // All training controls are kept: they are fewer than 512.
    let predicted = model.predicted_embeddings(data, &controls(), &condition).expect("it predicts");
    let observed = mean(&model.embed(data, &held_out).expect("its genes"));
    let control = mean(&model.embed(data, &controls()).expect("its genes"));
    let near = |found: Option<f64>, plain: f64| {
        let found = found.expect("no vector is zero");
        assert!((found - plain).abs() < 1e-3 * plain.abs().max(1.0), "{found}, in plain sums {plain}");
    };
    let cosine = |a: &Array1<f64>, b: &Array1<f64>| a.dot(b) / (a.dot(a) * b.dot(b)).sqrt();
    for (name, mean) in [("jepa", mean(&predicted)), ("no_change", control.clone())] {
        let (scores, off) = (scores.scores[name], &mean - &observed);
        near(scores.l2, off.dot(&off).sqrt());
        near(scores.cosine, cosine(&mean, &observed));
        match name {
            "jepa" => near(scores.cosine_shift, cosine(&(&mean - &control), &(&observed - &control))),
            _ => assert_eq!(scores.cosine_shift, None, "control does not move"),
        }
    }
}

#[test]
fn predictions_are_nearer_to_held_out_cells_than_no_change_and_the_mean_shift() {
    let found = found(trained());
    assert_eq!((found.left_out, found.predictions.len()), (0, 3));
    let l2 = |name: &str| of(&found, name).l2.expect("distances").mean;
    assert!(l2("jepa") < 0.9 * l2("mean_shift") && l2("jepa") < 0.9 * l2("no_change"), "{:?}", found.predictions);
    let shift = |name: &str| of(&found, name).cosine_shift.expect("they move").mean;
    assert!(shift("jepa") > shift("mean_shift"), "{:?}", found.predictions);
    // A held-out cell and a predicted cell are each off their means too.
    for name in ["jepa", "no_change", "mean_shift"] {
        let cells = of(&found, name).cell_l2.expect("distances");
        assert!(cells.mean > l2(name) && cells.sd > 0.0, "{name}: {cells:?}");
    }
}

#[test]
fn a_saved_model_has_the_same_scores_and_one_without_a_mean_shift_two_predictions() {
    let (dir, model) = (tempfile::tempdir().expect("a folder"), trained());
    model.save(dir.path()).expect("written");
    let read = || Jepa::load(dir.path(), Device::Cpu).expect("read");
    assert_eq!(found(&read()), found(model));
    let file = dir.path().join("model.json");
    let text = std::fs::read_to_string(&file).expect("written");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // The description lies beside the kind of the model.
    let removed = json.as_object_mut().into_iter().flat_map(|all| all.values_mut()).any(|value| {
        value.get_mut("response").and_then(|of| of.as_object_mut()).is_some_and(|of| of.remove("mean_shift").is_some())
    });
    assert!(removed, "{text}");
    std::fs::write(&file, json.to_string()).expect("written");
    let earlier = found(&read());
    assert_eq!(earlier.predictions.len(), 2);
    assert_eq!(of(&earlier, "jepa"), of(&found(model), "jepa"));
}

#[test]
fn what_cannot_be_predicted_is_left_out_and_an_encoder_alone_has_no_score() {
    let ((data, split), model) = (simulated(), trained());
    let control: Vec<usize> =
        split.test.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).collect();
    assert_eq!(model.held_out_embeddings(data, &control, 0).expect("its genes"), None);
    let mut other = (**data).clone();
    let known = other.perturbations.iter().position(|p| p.genes().len() == 1).expect("a single");
    other.perturbations[known] = Perturbation::of(["NOSUCH"]);
    let found = model.held_out_embeddings(&other, &split.test, 0).expect("its genes").expect("the others");
    assert_eq!(found.left_out, 1);
    let mut settings = JepaSettings { phase: Phase::A, ..super::response::settings() };
    settings.pretraining.epochs = 1;
    let encoder = Jepa::fit(&training(), &settings, &mut Run::quiet(0)).expect("it trains").0;
    assert_eq!(encoder.held_out(data, &split.test, 0).expect("its genes"), None);
}
