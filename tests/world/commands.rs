//! `simulate --time-points`, `train --model world-model` and `predict` of courses.

use crate::commands::tool::{Place, json};
use genailab::data::{AnnData, Column, Dataset};

#[test]
fn a_course_is_simulated_learned_and_predicted() {
    let place = Place::new();
    place.run("simulate --time-points 6 --cells 4000 --genes 120 --seed 1 --doses 0.5,1 --out s.h5ad").done();
    let said = place.run("train --data s.h5ad --model world-model --epochs 3 --out m");
    assert!(said.done().contains("principal components"), "{}", said.stdout);
    let metrics = json(&place.path("m/metrics.json"));
    for name in ["rollout_rmse", "persistence", "linear_dynamics"] {
        assert!(metrics["test"][name].as_f64().expect("a number") > 0.0, "{metrics}");
    }
    let data = Dataset::open(place.path("s.h5ad")).expect("cells");
    let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double is simulated");
    place.run(&format!("predict --model m --perturbations {double},control --out p.h5ad")).done();
    let file = AnnData::open(place.path("p.h5ad")).expect("a prediction");
    let obs = file.obs().expect("rows");
    let times = obs.column("time").and_then(Column::to_f64).expect("times");
    assert_eq!(times, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].repeat(2));
    let values = file.read_dense("X").expect("profiles");
    assert_eq!(values.dim(), (12, 120));
    assert_eq!(values.row(0), values.row(6), "all courses begin with control");
    assert!(values.iter().all(|value| value.is_finite()));
    place
        .run(&format!("predict --model m --perturbations {double} --times 0.5,2 --dose 0.5 --samples 3 --out q.h5ad"))
        .done();
    let drawn = AnnData::open(place.path("q.h5ad")).expect("a prediction").obs().expect("rows");
    assert_eq!(drawn.len(), 9);
    assert!(drawn.column("sample").is_some());

    let planned = place
        .run("plan --model m --data s.h5ad --where time=5 --where dose=1 --max-genes 1 --iterations 3 --out plan.json");
    let said = planned.done();
    let plan = json(&place.path("plan.json"));
    let name = plan["perturbation"].as_str().expect("a name");
    assert!(data.perturbations.iter().any(|p| p.to_string() == name && p.genes().len() == 1), "{plan}");
    assert!(said.contains(name) && said.contains("next best"), "{said}");
    assert_eq!(plan["best_by_iteration"].as_array().map(Vec::len), Some(3));
    assert!(plan["distance_of_control"].as_f64() > Some(0.0) && plan["cells"].as_u64() < Some(4_000), "{plan}");
    place.fails("plan --model m --data s.h5ad --where nosuch=1", &["--where nosuch=1", "course"]);
    place.fails(
        "plan --model m --data s.h5ad --where time=99",
        &["--where time=99", "no cell is left", "time is 0, 1, 2"],
    );
    place.fails("plan --model m --data s.h5ad --max-genes 0", &["--max-genes"]);

    place.fails("predict --model m --perturbations NOSUCH --out r.h5ad", &["--perturbations", "NOSUCH"]);
    let backwards = format!("predict --model m --perturbations {double} --times 2,1 --out r.h5ad");
    place.fails(&backwards, &["--times", "must rise"]);
    place.fails(
        "train --data s.h5ad --model world-model --time-column nosuch --out n",
        &["--time-column", "nosuch", "dose"],
    );
    place.fails("train --data s.h5ad --model vae --time-column time --out n", &["--time-column", "world-model"]);
    assert!(!place.path("n").exists() && !place.path("r.h5ad").exists());
}

#[test]
fn cells_without_times_are_refused_with_the_option_that_names_them() {
    let place = Place::new().with_cells();
    place
        .fails("train --data cells.h5ad --model world-model --out m", &["cells.h5ad", "--time-column", "perturbation"]);
    assert!(!place.path("m").exists());
}
