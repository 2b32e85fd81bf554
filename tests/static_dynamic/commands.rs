//! `train --model static-dynamic`, with and without `--static`, and `predict`.

use crate::commands::tool::{Place, json};
use genailab::{
    data::{AnnData, AnnDataWriter, Column, Dataset, Table},
    ndarray::{Array2, Axis, s},
};

#[test]
fn courses_and_static_profiles_are_learned_together_and_predicted() {
    let place = Place::new();
    place.run("simulate --time-points 4 --cells 2500 --genes 60 --seed 1 --out s.h5ad").done();
    // The same genes, without times: samples of two single perturbations and one that no course has.
    let data = Dataset::open(place.path("s.h5ad")).expect("cells");
    let singles: Vec<String> =
        data.perturbations.iter().filter(|p| p.genes().len() == 1).take(2).map(ToString::to_string).collect();
    let names = [&singles[0], &singles[1], "NEW", "control"];
    let rows: Vec<usize> = (0..40).collect();
    let mut obs = Table::from_names(rows.iter().map(|row| format!("sample{row}")).collect());
    obs.set("perturbation", Column::Text(rows.iter().map(|row| Some(names[row % 4].to_string())).collect()));
    AnnDataWriter::new(&obs, &data.genes)
        .x(&data.counts.select_cells(&rows))
        .write(place.path("b.h5ad"))
        .expect("written");

    let said = place.run("train --data s.h5ad --model static-dynamic --epochs 2 --static b.h5ad --out m");
    let said = said.done().to_owned();
    assert!(said.contains("training sequences by their number of profiles"), "{said}");
    let metrics = json(&place.path("m/metrics.json"));
    for name in ["rollout_rmse", "persistence", "linear_dynamics"] {
        assert!(metrics["test"][name].as_f64().expect("a number") > 0.0, "{metrics}");
    }
    let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double is simulated");
    place.run(&format!("predict --model m --perturbations {double},NEW --out p.h5ad")).done();
    let file = AnnData::open(place.path("p.h5ad")).expect("a prediction");
    let times = file.obs().expect("rows").column("time").and_then(Column::to_f64).expect("times");
    assert_eq!(times, [0.0, 1.0, 2.0, 3.0].repeat(2));
    let (values, spread) = (file.read_dense("X").expect("means"), file.read_dense("layers/spread").expect("spread"));
    assert_eq!(values.row(0), values.row(4), "all courses begin with control");
    assert!(spread.row(0).iter().all(|s| *s == 0.0) && spread.row(2).iter().any(|s| *s > 0.0));
    place.run(&format!("predict --model m --perturbations {double} --times 0.5,2 --samples 3 --out q.h5ad")).done();
    assert_eq!(AnnData::open(place.path("q.h5ad")).expect("a prediction").obs().expect("rows").len(), 9);
    let said = place.run(&format!("predict --model m --perturbations {double} --times 2,9 --out q.h5ad"));
    assert!(said.done().contains("--times 9 is extrapolated; training courses end at 3"), "{}", said.stdout);

    // Draws are independent: with opposite noise the two of a pair would differ from their mean by opposite amounts.
    place.run(&format!("predict --model m --perturbations {double} --times 3 --samples 40 --out d.h5ad")).done();
    let draws = AnnData::open(place.path("d.h5ad")).expect("draws").read_dense("X").expect("X");
    let ends: Array2<f32> = draws.select(Axis(0), &(0..40).map(|draw| 2 * draw + 1).collect::<Vec<_>>());
    let off = &ends - &ends.mean_axis(Axis(0)).expect("40 draws");
    let (first, second) = (off.slice(s![..;2, ..]), off.slice(s![1..;2, ..]));
    let correlation = (&first * &second).sum() / ((&first * &first).sum() * (&second * &second).sum()).sqrt();
    assert!(correlation.abs() < 0.6, "neighbouring draws correlate by {correlation}");

    // Bulk samples that name no perturbation had none.
    let unlabelled = Table::from_names(obs.names.clone());
    AnnDataWriter::new(&unlabelled, &data.genes)
        .x(&data.counts.select_cells(&rows))
        .write(place.path("u.h5ad"))
        .expect("written");
    place.run("train --data s.h5ad --model static-dynamic --epochs 1 --static u.h5ad --out u").done();

    // Cells of the courses without a time are taken for static profiles, which is said.
    let first: Vec<usize> = (0..600).collect();
    let mut partly = data.select_cells(&first);
    let times = partly.cells.column("time").and_then(Column::to_f64).expect("times");
    let times = times.iter().enumerate().map(|(cell, time)| if cell < 30 { f64::NAN } else { *time }).collect();
    partly.cells.set("time", Column::Float(times));
    partly.write_with(place.path("partly.h5ad"), &[], None).expect("written");
    let said = place.run("train --data partly.h5ad --model static-dynamic --epochs 1 --out partly");
    assert!(said.done().contains("note: 30 of 600 cells have no time"), "{}", said.stdout);

    // A time of theirs is left out, which is said; a context that they lack is named with the file.
    let mut timed = obs.clone();
    timed.set("time", Column::Float(vec![1.0; 40]));
    AnnDataWriter::new(&timed, &data.genes)
        .x(&data.counts.select_cells(&rows))
        .write(place.path("t.h5ad"))
        .expect("written");
    let said = place.run("train --data s.h5ad --model static-dynamic --epochs 1 --static t.h5ad --out t");
    assert!(said.done().contains("static profiles have no time"), "{}", said.stdout);
    place.fails(
        "train --data s.h5ad --model static-dynamic --context course --static b.h5ad --out n",
        &["--static b.h5ad", "\"course\"", "perturbation"],
    );

    place.fails("predict --model m --perturbations NOSUCH --out r.h5ad", &["--perturbations", "NOSUCH"]);
    place.fails("train --data s.h5ad --model world-model --static b.h5ad --out n", &["--static", "static-dynamic"]);
    place.fails("train --data b.h5ad --model static-dynamic --static b.h5ad --out n", &["--time-column"]);
    assert!(!place.path("n").exists() && !place.path("r.h5ad").exists());
}
