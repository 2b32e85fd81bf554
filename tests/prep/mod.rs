//! Preparing data: quality control, normalisation, variable genes, splits and joined datasets.

mod cell_types;
mod common;
mod genes;
mod join;
mod numerics;
mod parts;
mod simulate;
mod simulation_parts;
mod split;
mod split_leakage;
mod split_real;
mod split_saved;

use common::{close, dataset, reference, shared_data};
use genailab::{
    data::{
        Column, Dataset, HvgFlavour, QcConfig, TargetSum, highly_variable,
        normalize::{group_means, log1p, mean_effects, mean_profiles, normalize_total},
    },
    ndarray::Axis,
};

#[test]
fn qc_drops_by_each_rule_and_says_so() {
    // 4 genes (the last one mitochondrial), 8 cells: three controls, four of A, one of B.
    let data = dataset(
        &["g1", "g2", "g3", "MT-ND1"],
        &[
            ("control", [5.0, 5.0, 0.0, 1.0]),
            ("control", [9.0, 0.0, 0.0, 0.0]), // one gene only
            ("control", [5.0, 5.0, 0.0, 0.0]),
            ("A", [5.0, 5.0, 0.0, 1.0]),
            ("A", [1.0, 1.0, 0.0, 8.0]), // 80 % mitochondrial
            ("A", [3.0, 2.0, 0.0, 0.0]),
            ("A", [3.0, 0.0, 1.0, 0.0]),
            ("B", [3.0, 2.0, 0.0, 0.0]), // the only cell of B
        ],
    );
    let config =
        QcConfig { min_genes: 2, max_mito_percent: 20.0, min_cells_per_gene: 2, min_cells_per_perturbation: 3 };
    let (kept, report) = config.apply(&data).expect("cells and genes are left");
    assert_eq!((report.cells_few_genes, report.cells_high_mito, report.cells_rare_perturbation), (1, 1, 1));
    assert_eq!((report.cells_before, report.cells_after), (8, 5));
    assert_eq!(report.perturbations_dropped, ["B"]);
    assert_eq!((report.genes_few_cells, report.genes_after), (1, 3), "g3 is in one cell");
    assert_eq!(kept.genes.names, ["g1", "g2", "MT-ND1"]);
    let names: Vec<String> = kept.perturbations.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["control", "A"]);
    assert_eq!(kept.labels, [0, 0, 1, 1, 1], "two control cells stay although three a perturbation are asked for");
    assert_eq!(kept.library_size, [11.0, 10.0, 11.0, 5.0, 4.0], "library sizes still count the dropped gene");
    assert_eq!(kept.cells.names, ["c0", "c2", "c3", "c5", "c6"]);
    let text = report.to_string();
    for line in ["cells: 5 of 8 kept", "  1 with fewer than 2 detected genes", "  dropped: B"] {
        assert!(text.contains(line), "{text}");
    }
    let json = serde_json::to_string(&report).expect("a report is plain data");
    assert_eq!(serde_json::from_str::<genailab::data::QcReport>(&json).expect("its own JSON"), report);
}

#[test]
fn qc_that_leaves_nothing_names_the_rule() {
    let cells: Vec<(&str, [f32; 2])> =
        vec![("control", [1.0, 1.0]), ("control", [1.0, 1.0]), ("A", [1.0, 1.0]), ("A", [1.0, 1.0])];
    let data = dataset(&["g1", "MT-ND1"], &cells);
    let lenient =
        QcConfig { min_genes: 0, max_mito_percent: 100.0, min_cells_per_gene: 0, min_cells_per_perturbation: 0 };
    assert!(lenient.apply(&data).is_ok());
    for (rule, config) in [
        ("min_genes", QcConfig { min_genes: 3, ..lenient.clone() }),
        ("max_mito_percent", QcConfig { max_mito_percent: 10.0, ..lenient.clone() }),
        ("min_cells_per_perturbation", QcConfig { min_cells_per_perturbation: 3, ..lenient.clone() }),
        ("min_cells_per_gene", QcConfig { min_cells_per_gene: 5, ..lenient }),
    ] {
        let message = config.apply(&data).expect_err("nothing is left").to_string();
        assert!(message.contains(&format!("rule {rule} ")), "{rule}: {message}");
    }
}

#[test]
fn qc_thresholds_suit_the_file() {
    let mut data = dataset(&["g1", "g2"], &[("control", [1.0, 1.0]), ("A", [1.0, 1.0])]);
    assert_eq!(QcConfig::for_dataset(&data).min_genes, 0, "one in a hundred of two genes");
    data.cells.set("ngenes", Column::Integer(vec![Some(900), Some(100)]));
    let config = QcConfig { min_cells_per_perturbation: 0, min_cells_per_gene: 0, ..QcConfig::for_dataset(&data) };
    assert_eq!(config.min_genes, 200, "the file says how many of all genes each cell has");
    let message = config.apply(&data).expect_err("the only cell of A has 100 genes").to_string();
    assert!(message.contains("no perturbed cell is left"), "{message}");
    for name in ["norman_cells", "papalexi_cells", "jurkat_tcr_cells"] {
        let Some(data) = shared_data(name) else { continue };
        let (kept, report) = QcConfig::for_dataset(&data).apply(&data).expect("the defaults leave cells and genes");
        println!("{name}\n{report}");
        assert!(report.cells_after as f64 > 0.9 * report.cells_before as f64, "{name}: {report}");
        assert_eq!(kept.counts.n_cells(), report.cells_after);
    }
}

#[test]
fn effects_are_differences_to_control() {
    let data = dataset(
        &["g1", "g2"],
        &[("control", [1.0, 3.0]), ("control", [2.0, 2.0]), ("A", [4.0, 0.0]), ("A", [0.0, 8.0])],
    );
    let ln = |x: f32| (1.0 + x).ln();
    let profiles = mean_profiles(&data, TargetSum::Fixed(4.0)).expect("fits");
    close("control, g1", profiles[[0, 0]].into(), f64::from((ln(1.0) + ln(2.0)) / 2.0), 1e-6);
    let effects = mean_effects(&data, TargetSum::Fixed(4.0)).expect("there is control");
    close("A, g1", effects[[1, 0]].into(), f64::from((ln(4.0) + ln(0.0) - ln(1.0) - ln(2.0)) / 2.0), 1e-6);
    assert!(effects.row(0).iter().all(|&effect| effect == 0.0));
}

/// The genes that `tests/reference/hvg.py` keeps.
fn detected_often(data: &Dataset) -> Dataset {
    let mut detected = vec![0; data.counts.n_genes()];
    data.counts.indices().iter().for_each(|&gene| detected[gene as usize] += 1);
    let genes: Vec<usize> = (0..detected.len()).filter(|&gene| detected[gene] >= 34).collect();
    data.select_genes(&genes).expect("known genes")
}

#[test]
fn variable_genes_are_scanpys() {
    let reference = reference();
    for name in ["papalexi_cells", "norman_cells"] {
        let Some(data) = shared_data(name) else { continue };
        let data = detected_often(&data);
        let n_top = reference[name]["n_top"].as_u64().expect("a number") as usize;
        for (flavour, key, dispersions) in
            [(HvgFlavour::SeuratV3, "seurat_v3", "variances"), (HvgFlavour::Seurat, "seurat", "dispersions")]
        {
            let table = highly_variable(&data, flavour, n_top, None).expect("many genes vary");
            let theirs = &reference[name][key];
            for (ours, column) in [
                (&table.means, "means"),
                (&table.dispersions, dispersions),
                (&table.dispersions_norm, &*format!("{dispersions}_norm")),
            ] {
                let expected: Vec<Option<f64>> = serde_json::from_value(theirs[column].clone()).expect("numbers");
                assert_eq!(ours.len(), expected.len());
                for (gene, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
                    close(&format!("{name} {key} {column} {gene}"), *ours, expected.unwrap_or(f64::NAN), 1e-5);
                }
            }
            let expected: Vec<usize> = serde_json::from_value(theirs["selected"].clone()).expect("indices");
            assert_eq!(table.genes(), expected, "{name} {key}");
        }
    }
}

#[test]
fn variable_genes_of_some_cells_are_those_of_a_dataset_with_only_these() {
    let Some(data) = shared_data("papalexi_cells") else { return };
    let cells: Vec<usize> = (0..data.counts.n_cells()).step_by(7).collect();
    let only = data.select_cells(&cells);
    for flavour in [HvgFlavour::Seurat, HvgFlavour::SeuratV3] {
        let some = highly_variable(&data, flavour, 50, Some(&cells)).expect("many genes vary");
        assert_eq!(some.genes(), highly_variable(&only, flavour, 50, None).expect("many genes vary").genes());
        assert_ne!(some.genes(), highly_variable(&data, flavour, 50, None).expect("many genes vary").genes());
    }
    assert!(highly_variable(&data, HvgFlavour::Seurat, 50, Some(&[9_999_999])).is_err());
    assert!(highly_variable(&data, HvgFlavour::Seurat, 0, None).is_err());
}

#[test]
fn normalisation_is_scanpys() {
    let reference = reference();
    for name in ["papalexi_cells", "norman_cells"] {
        let Some(data) = shared_data(name) else { continue };
        let data = detected_often(&data);
        let totals = data.counts.row_sums();
        let normalised = log1p(normalize_total(&data.counts, &totals, TargetSum::Median).expect("fits"));
        let means = group_means(&normalised, &data.labels, data.perturbations.len()).expect("fits");
        let theirs: Vec<f64> =
            serde_json::from_value(reference[name]["median_normalised_control_profile"].clone()).expect("numbers");
        for (gene, (&ours, theirs)) in means.index_axis(Axis(0), 0).iter().zip(theirs).enumerate() {
            close(&format!("{name} gene {gene}"), ours.into(), theirs, 1e-5);
        }
    }
}
