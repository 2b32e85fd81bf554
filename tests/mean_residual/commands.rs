//! `simulate --bulk`, `train --model mean-residual`, `predict` from metadata, `synthetic`.

use crate::commands::tool::{Place, json};
use genailab::data::{AnnData, Column};

#[test]
fn bulk_samples_are_simulated_learned_predicted_and_validated() {
    let place = Place::new();
    place.run("simulate --bulk --cells 250 --genes 60 --seed 1 --out s.h5ad").done();
    let truth = AnnData::open(place.path("s.h5ad")).expect("samples");
    assert!(truth.uns_keys().iter().any(|key| key == "bulk_truth"));
    assert_eq!(truth.read_dense("layers/true_mean").expect("a layer").dim(), (250, 60));

    let said = place.run("train --data s.h5ad --model mean-residual --metadata tissue,disease,age --epochs 5 --out m");
    let text = said.done();
    for part in ["tissue (4 levels)", "age (continuous", "additive ridge", "mean per combination", "intervals of 90 %"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let metrics = json(&place.path("m/metrics.json"));
    assert!(metrics["test"]["coverage"].as_f64().expect("a share") > 0.8, "{metrics}");

    place.write("rows.csv", "name,tissue,disease,age\na,tissue_1,healthy,30\nb,tissue_2,disease_1,71.5\n");
    place.run("predict --model m --metadata-file rows.csv --out means.h5ad").done();
    let means = AnnData::open(place.path("means.h5ad")).expect("means");
    let (mean, lower) = (means.read_dense("X").expect("X"), means.read_dense("layers/lower").expect("a layer"));
    assert_eq!(mean.dim(), (2, 60));
    assert!(mean.iter().zip(&lower).all(|(mean, lower)| lower <= mean));
    place.run("predict --model m --like s.h5ad --cells 2 --out drawn.h5ad").done();
    let obs = AnnData::open(place.path("drawn.h5ad")).expect("samples").obs().expect("rows");
    assert_eq!(obs.len(), 500);
    assert!(obs.column("age").and_then(Column::to_f64).is_some() && obs.column("metadata_row").is_some());

    let synthetic = "synthetic --real s.h5ad --split m/split.json --label tissue";
    let said = place.run(&format!("{synthetic} --generated drawn.h5ad --out v"));
    assert!(said.done().contains("0.0 % of the generated records are copies"), "{}", said.stdout);
    let results = json(&place.path("v/results.json"));
    let probe = |set: &str| results["results"]["utility"][set]["balanced_accuracy"].as_f64().expect("an accuracy");
    assert!(probe("generated") > 0.9 && probe("shuffled") < 0.6, "{results}");
    assert!(place.path("v/report.html").exists());
    let copied = place.run(&format!("{synthetic} --generated s.h5ad --out w"));
    assert!(copied.done().contains("memorised"), "{}", copied.stdout);
    place.fails(&format!("{synthetic} --generated means.h5ad --out x"), &["means.h5ad", "log", "--cells"]);
    place.fails("synthetic --real s.h5ad --generated drawn.h5ad --label nosuch --out x", &["--label nosuch", "tissue"]);
    assert!(!place.path("x").exists());

    place.write("bad.csv", "name,tissue,disease,age\na,spleen,healthy,30\n");
    place.fails("predict --model m --metadata-file bad.csv --out p.h5ad", &["bad.csv", "row a", "spleen", "tissue_1"]);
    place.write("short.csv", "name,tissue\na,tissue_1\n");
    place.fails("predict --model m --metadata-file short.csv --out p.h5ad", &["short.csv", "disease"]);
    place.fails("predict --model m --perturbations A --out p.h5ad", &["--perturbations", "--metadata-file"]);
    assert!(!place.path("p.h5ad").exists());
}

#[test]
fn options_of_metadata_are_refused_where_they_mean_nothing() {
    let place = Place::new().with_cells();
    place.fails("train --data cells.h5ad --model vae --metadata lane --out m", &["--metadata", "mean-residual"]);
    place.fails("train --data cells.h5ad --model mean-residual --out m", &["--metadata", "perturbation"]);
    place.fails("train --data cells.h5ad --model mean-residual --metadata nosuch --out m", &["nosuch", "perturbation"]);
    assert!(!place.path("m").exists());
}
