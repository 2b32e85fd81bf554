//! Files whose counts are read some at a time, and embeddings of several files.

use crate::commands::tool::Place;
use genailab::{
    data::{
        AnnData, AnnDataWriter, Column, Counts, Dataset, Effects, LargeFile, OpenOptions, TargetSum,
        normalize::{into_log_normalized, log_normalize},
    },
    eval::{DeReference, DeTest, DifferentialExpression, differential_expression},
    ndarray::Array2,
};
use std::path::PathBuf;

const TARGET: TargetSum = TargetSum::Fixed(1e4);

/// Cells of which some have no label, with an embedding that numbers them.
fn cells(place: &Place) -> PathBuf {
    let path = place.path("cells.h5ad");
    let file = AnnData::open(&path).expect("simulated");
    let (mut obs, var) = (file.obs().expect("obs"), file.var().expect("var"));
    let mut labels = obs.column("perturbation").expect("it names them").to_text();
    labels.iter_mut().step_by(7).for_each(|label| *label = None);
    obs.set("perturbation", Column::Text(labels));
    let counts = file.read_matrix("X").expect("counts");
    let numbers = Array2::from_shape_fn((obs.len(), 3), |(cell, dimension)| (cell + 1000 * dimension) as f32);
    let path = place.path("some.h5ad");
    AnnDataWriter::new(&obs, &var).x(&counts).obsm("X_numbers", &numbers).write(&path).expect("written");
    path
}

#[test]
fn parts_are_what_the_whole_is() {
    let place = Place::new().with_cells();
    let path = cells(&place);
    let options = OpenOptions::default();
    let whole = Dataset::open(&path).expect("cells");
    let large = LargeFile::open(AnnData::open(&path).expect("a file"), &options).expect("read").expect("counts");
    assert_eq!((large.cells().n_cells(), large.genes()), (whole.n_cells(), &whole.genes));
    assert!(whole.n_cells() < 600 && large.cells().library_size == whole.library_size);
    let all = 0..150;
    assert_eq!(large.parts().collect::<Vec<_>>(), [all], "a small file is one part");

    let halves = [0..70, 70..150].map(|genes| large.read(genes).expect("read"));
    for (half, genes) in halves.iter().zip([0..70, 70..150]) {
        let same = whole.select_genes(&genes.collect::<Vec<_>>()).expect("genes");
        assert_eq!((&half.counts, &half.genes), (&same.counts, &same.genes));
    }
    let (effects, same) = (Effects::of_large(&large).expect("effects"), Effects::of_cells(&whole).expect("effects"));
    assert_eq!((&effects.values, &effects.perturbations), (&same.values, &same.perturbations));

    let expression = log_normalize(&whole, TARGET).expect("counts");
    for (reference, test) in [
        (DeReference::Group(0), DeTest::default()),
        (DeReference::Rest, DeTest::default()),
        (DeReference::Group(0), DeTest::TTest),
    ] {
        let test_of =
            |values: &Counts| differential_expression(values, &whole.labels, reference, test).expect("tested");
        let parts: Vec<DifferentialExpression> =
            halves.iter().map(|half| test_of(&into_log_normalized(half.clone(), TARGET).expect("counts"))).collect();
        let (joined, same) = (DifferentialExpression::joined(&parts).expect("one set of groups"), test_of(&expression));
        assert_eq!((joined.groups, joined.scores, joined.p_values), (same.groups, same.scores, same.p_values));
        assert_eq!((joined.p_adjusted, joined.log2_fold_changes), (same.p_adjusted, same.log2_fold_changes));
    }
}

#[test]
fn embeddings_of_labelled_cells() {
    let place = Place::new().with_cells();
    let path = cells(&place);
    let file = AnnData::open(&path).expect("a file");
    let (of_file, scores) = Dataset::with_embedding(&file, &OpenOptions::default(), "X_numbers").expect("read");
    let labelled: Vec<f32> = (0..600).filter(|cell| cell % 7 != 0).map(|cell| cell as f32).collect();
    assert_eq!((scores.column(0).to_vec(), of_file.labels.len()), (labelled, scores.nrows()));

    std::fs::copy(&path, place.path("again.h5ad")).expect("copied");
    place.run("distances --data some.h5ad --embedding X_numbers --to-control --cells 1000 --out one.csv").done();
    let line =
        "distances --data some.h5ad --data again.h5ad --embedding X_numbers --to-control --cells 1000 --out two.csv";
    place.run(line).done();
    let table = |name: &str| std::fs::read_to_string(place.path(name)).expect("a table");
    let sizes = |table: &str| -> Vec<(String, usize)> {
        let fields = table.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        fields.map(|fields| (fields[0].to_owned(), fields[1].parse().expect("a number"))).collect()
    };
    let (one, two) = (table("one.csv"), table("two.csv"));
    let twice: Vec<(String, usize)> = sizes(&one).into_iter().map(|(name, n)| (name, 2 * n)).collect();
    assert_eq!(sizes(&two), twice);

    let narrow = Array2::<f32>::zeros((file.n_obs(), 2));
    let (obs, var) = (file.obs().expect("obs"), file.var().expect("var"));
    let other = AnnDataWriter::new(&obs, &var).obsm("X_numbers", &narrow);
    other.write(place.path("narrow.h5ad")).expect("written");
    place.fails(
        "distances --data some.h5ad --data narrow.h5ad --embedding X_numbers --out x.csv",
        &["narrow.h5ad: obsm/X_numbers has 2 dimensions", "has 3"],
    );
    place.fails("distances --data some.h5ad --embedding X_numbers --genes 10 --out x.csv", &["--genes has no effect"]);
    place.fails("distances --data some.h5ad --embedding X_pca --out x.csv", &["X_pca"]);
}
