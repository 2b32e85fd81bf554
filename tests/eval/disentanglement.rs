//! Disentanglement scores against scikit-learn, and on cases whose score is known.

use super::{assert_close, numbers, reference};
use genailab::{
    data::{Simulation, SimulationConfig},
    eval::{DciConfig, dci, mutual_information_gap, mutual_information_table, separated_attribute_predictability},
    ndarray::{Array2, Axis, array, concatenate},
};

#[test]
fn scores_are_those_of_scikit_learn() {
    let all = reference("disentanglement");
    let (cells, fitted) = (all["cells"].as_u64().unwrap() as usize, all["fitted"].as_u64().unwrap() as usize);
    let factors = Array2::from_shape_vec((cells, 3), numbers(&all["factors"])).expect("three factors");
    let bins = all["bins"].as_u64().unwrap() as usize;
    let config = DciConfig { alpha: all["alpha"].as_f64().unwrap(), ..DciConfig::default() };
    for case in all["cases"].as_array().expect("a list") {
        let (name, latents) = (case["name"].as_str().unwrap(), case["latents"].as_u64().unwrap() as usize);
        let z = Array2::from_shape_vec((cells, latents), numbers::<f32>(&case["z"])).expect("as many values");
        let table = mutual_information_table(z.view(), factors.view(), bins).expect("valid input");
        for (got, expected) in table.iter().zip(numbers::<f64>(&case["information"])) {
            assert_close(*got, expected, 1e-9, 1e-12, name);
        }
        let mig = mutual_information_gap(z.view(), factors.view(), bins).expect("valid input");
        assert_close(mig, case["mig"].as_f64().unwrap(), 1e-9, 0.0, name);
        let sap = separated_attribute_predictability(z.view(), factors.view()).expect("valid input");
        assert_close(sap, case["sap"].as_f64().unwrap(), 1e-9, 0.0, name);
        let scores = dci(z.view(), factors.view(), fitted, &config).expect("valid input");
        for (got, expected) in scores.importance.iter().zip(numbers::<f64>(&case["dci"]["importance"])) {
            assert_close(*got, expected, 1e-6, 1e-7, name);
        }
        for (score, got) in [
            ("disentanglement", scores.disentanglement),
            ("completeness", scores.completeness),
            ("informativeness", scores.informativeness),
        ] {
            assert_close(got, case["dci"][score].as_f64().unwrap(), 1e-6, 1e-7, &format!("{name}, {score}"));
        }
    }
}

#[test]
fn the_factors_of_the_simulation_are_perfectly_disentangled_until_they_are_rotated() {
    let config =
        SimulationConfig { n_cells: 3000, n_genes: 60, damaged_fraction: 0.0, seed: 2, ..SimulationConfig::default() };
    let simulation = Simulation::new(&config).expect("valid settings");
    let factors = simulation.factors.select(&["program_3", "program_4", "log_library"]).values;
    let z = factors.mapv(|value| value as f32);
    let mig = mutual_information_gap(z.view(), factors.view(), 20).expect("valid input");
    // The second latent of each factor keeps what the plug-in estimate adds to independent variables.
    assert!(mig > 0.95, "{mig}");
    let scores = dci(z.view(), factors.view(), 2000, &DciConfig::default()).expect("valid input");
    assert!(scores.disentanglement > 0.99 && scores.completeness > 0.99 && scores.informativeness > 0.99, "{scores:?}");
    let turn = array![[0.8_f32, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]];
    let turned = dci(z.dot(&turn).view(), factors.view(), 2000, &DciConfig::default()).expect("valid input");
    assert!(turned.disentanglement < 0.8 && turned.informativeness > 0.99, "{turned:?}");
    // A copy of a latent: no gap between the first and the second.
    let twice = concatenate![Axis(1), z, z];
    assert_eq!(mutual_information_gap(twice.view(), factors.view(), 20).expect("valid input"), 0.0);
    assert_eq!(separated_attribute_predictability(twice.view(), factors.view()).expect("valid input"), 0.0);
    // What the factors claim about the cells is true of the cells.
    let library: Vec<f32> = simulation.dataset.library_size.iter().map(|size| size.ln()).collect();
    let told: Vec<f32> = factors.column(2).iter().map(|&value| value as f32).collect();
    let r = genailab::eval::pearson(&library, &told).expect("both vary");
    assert!(r > 0.8, "library sizes correlate at {r}");
}

#[test]
fn scores_refuse_what_says_nothing() {
    let (z, flat) = (array![[0.0_f32], [1.0], [2.0], [3.0]], array![[1.0], [1.0], [1.0], [1.0]]);
    let message = mutual_information_gap(z.view(), flat.view(), 20).unwrap_err().to_string();
    assert!(message.contains("factor 0"), "{message}");
    let factor = array![[0.0], [1.0], [0.0], [1.0]];
    assert!(mutual_information_gap(z.view(), factor.view(), 1).is_err(), "one bin");
    assert!(separated_attribute_predictability(z.view(), factor.slice_axis(Axis(0), (..3).into())).is_err());
    assert!(dci(z.view(), factor.view(), 3, &DciConfig::default()).is_err(), "one cell to judge");
    let free = DciConfig { alpha: 0.0, ..DciConfig::default() };
    assert!(dci(z.view(), factor.view(), 2, &free).unwrap_err().to_string().contains("alpha"));
    assert!(mutual_information_gap((z * f32::NAN).view(), factor.view(), 20).is_err());
}
