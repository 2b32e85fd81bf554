//! The parts that datasets are made of: names, counts, perturbations, gene sets, normalised values.

mod names {
    use genailab::data::names::{edit_distance, make_unique, position};

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn unique_as_scanpy_does() {
        // anndata.utils.make_index_unique(pd.Index(["A", "B", "A", "A-1", "A", "B"])) of AnnData 0.12
        let mut names = owned(&["A", "B", "A", "A-1", "A", "B"]);
        assert_eq!(make_unique(&mut names), 3);
        assert_eq!(names, ["A", "B", "A-2", "A-1", "A-3", "B-1"]);
    }

    #[test]
    fn errors_name_what_is_close() {
        let names = owned(&["KLF1", "MAP2K6", "TP53"]);
        assert_eq!(position("gene", "TP53", &names).expect("there"), 2);
        let error = position("gene", "KLF2", &names).expect_err("absent").to_string();
        assert_eq!(error, "there is no gene \"KLF2\" in this dataset; did you mean KLF1?");
        let error = position("gene", "ZZZZZZZZZ", &names).expect_err("absent").to_string();
        assert!(error.contains("the 3 known are KLF1, MAP2K6, TP53"), "{error}");
    }

    #[test]
    fn edit_distances() {
        let distance = |a: &str, b: &str| edit_distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!([distance("", "abc"), distance("kitten", "sitting"), distance("abc", "abc")], [3, 3, 0]);
    }
}

mod counts {
    use genailab::{data::Counts, ndarray::array};

    #[test]
    fn dense_and_back() {
        let dense = array![[0.0, 2.0, 0.0], [1.0, 0.0, 3.0], [0.0, 0.0, 0.0]];
        let counts = Counts::from_dense(&dense);
        assert_eq!((counts.n_cells(), counts.n_genes(), counts.nnz()), (3, 3, 3));
        assert_eq!(counts.to_dense(), dense);
        assert_eq!(counts.row_sums(), [2.0, 4.0, 0.0]);
        assert_eq!(counts.select_cells(&[1, 1]).to_dense(), array![[1.0, 0.0, 3.0], [1.0, 0.0, 3.0]]);
        let swapped = counts.select_genes(&[2, 1]).expect("both genes are there");
        assert_eq!(swapped.to_dense(), array![[0.0, 2.0], [3.0, 0.0], [0.0, 0.0]]);
    }

    #[test]
    fn rows_are_kept_in_place() {
        let dense = array![[0.0, 2.0], [1.0, 3.0], [0.0, 0.0], [4.0, 0.0]];
        for keep in 0..16_u32 {
            let flags: Vec<bool> = (0..4).map(|cell| keep >> cell & 1 == 1).collect();
            let rows: Vec<usize> = (0..4).filter(|&cell| flags[cell]).collect();
            let mut counts = Counts::from_dense(&dense);
            counts.retain_cells(&flags);
            assert_eq!(counts, Counts::from_dense(&dense).select_cells(&rows), "{flags:?}");
        }
    }

    #[test]
    fn what_is_no_count_is_found() {
        for bad in [-1.0, 1.5, f32::NAN, f32::INFINITY] {
            let counts =
                Counts::from_dense(&array![[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, bad], [bad, 0.0, 0.0]]);
            let (cell, gene, value) = counts.first_non_count().expect("it holds no counts");
            assert_eq!((cell, gene, value.to_bits()), (2, 2, bad.to_bits()));
        }
        assert_eq!(Counts::from_dense(&array![[0.0, 2.0], [3.0, 0.0]]).first_non_count(), None);
    }

    #[test]
    fn damaged_arrays_are_refused() {
        for (indptr, indices) in [
            (vec![0, 2, 1, 2], vec![0, 1]), // not monotone
            (vec![1, 2], vec![0, 1]),       // does not start at 0
            (vec![0, 1], vec![0, 1]),       // does not end at the number of values
            (vec![0, 2], vec![0, 7]),       // out of range
            (vec![0, 2], vec![1, 1]),       // twice
        ] {
            let values = vec![1.0; indices.len()];
            assert!(Counts::new(2, indptr.clone(), indices, values).is_err(), "{indptr:?} must be refused");
        }
    }

    #[test]
    fn unsorted_rows_are_sorted() {
        let counts = Counts::new(3, vec![0, 2], vec![2, 0], vec![5.0, 7.0]).expect("valid but unsorted");
        assert_eq!(counts.row(0), (&[0, 2][..], &[7.0, 5.0][..]));
    }
}

mod perturbations {
    use genailab::data::{Naming, Perturbation};

    fn read(label: &str) -> String {
        label.parse::<Perturbation>().expect("a valid label").to_string()
    }

    #[test]
    fn labels_of_all_sources_are_one() {
        for (label, normal) in [
            ("control", "control"),
            ("ctrl", "control"),
            ("Non-Targeting", "control"),
            ("non_targeting_12", "control"),
            ("NT", "control"),
            ("NegCtrl10_NegCtrl0", "control"),
            ("ctrl+ctrl", "control"),
            ("KLF1+ctrl", "KLF1"),
            ("ctrl+KLF1", "KLF1"),
            ("MAP2K6+KLF1", "KLF1+MAP2K6"),
            ("MAP2K6_KLF1", "KLF1+MAP2K6"),
            (" MAP2K6 + KLF1 ", "KLF1+MAP2K6"),
            ("KLF1_NegCtrl0", "KLF1"),
            ("KLF1+KLF1", "KLF1"),
            ("EGR1_2", "EGR1_2"),
            ("EGR1_1_LCK_2", "EGR1_1+LCK_2"),
            ("STAT1_sg2", "STAT1_sg2"),
            ("HLA-A_NKX2-1", "HLA-A+NKX2-1"),
            ("HLA_A+KLF1", "HLA_A+KLF1"),
            ("NT5E", "NT5E"),
            ("G6PD_GAB1", "G6PD+GAB1"),
        ] {
            assert_eq!(read(label), normal, "{label}");
        }
    }

    #[test]
    fn the_rule_bends_to_the_file() {
        let guides = Naming { guide_suffix: true, ..Naming::default() };
        assert_eq!(guides.parse("EGR1_2", |_| false).expect("valid").to_string(), "EGR1");
        assert_eq!(guides.parse("EGR1_1_LCK_2", |_| false).expect("valid").to_string(), "EGR1+LCK");
        assert_eq!(Naming::default().parse("Y_RNA", |name| name == "Y_RNA").expect("valid").genes(), ["Y_RNA"]);
        let plus = Naming { separator: Some("+".into()), ..Naming::default() };
        assert_eq!(plus.parse("Y_RNA", |_| false).expect("valid").genes(), ["Y_RNA"]);
        let under = Naming { separator: Some("_".into()), ..Naming::default() };
        assert_eq!(under.parse("EGR1_2_B+C", |_| false).expect("valid").genes(), ["B+C", "EGR1_2"]);
        let vehicle = Naming { control_names: vec!["DMSO".into()], ..Naming::default() };
        assert!(vehicle.parse("dmso", |_| false).expect("valid").is_control());
    }

    #[test]
    fn empty_parts_are_refused() {
        for label in ["", "A+", "+", "A__B"] {
            assert!(label.parse::<Perturbation>().is_err(), "{label:?}");
        }
    }

    #[test]
    fn serialised_as_text_and_back() {
        let guide = Perturbation::of(["Y_RNA", "B"]);
        let text = serde_json::to_string(&guide).expect("text");
        assert_eq!(text, r#""B+Y_RNA""#);
        assert_eq!(serde_json::from_str::<Perturbation>(&text).expect("valid"), guide);
        assert_eq!(serde_json::from_str::<Perturbation>(r#""control""#).expect("valid"), Perturbation::control());
    }
}

mod variable_genes {
    use genailab::{
        data::{
            Counts,
            hvg::{SPAN, moments, seurat, seurat_v3},
        },
        math::loess::loess,
        ndarray::{Array2, Axis},
    };

    /// 50 cells x 30 genes; gene 3 is always 0, gene 5 always 2, gene 8 is 0 but for one cell.
    fn dense() -> Array2<f32> {
        Array2::from_shape_fn((50, 30), |(cell, gene)| match gene {
            3 => 0.0,
            5 => 2.0,
            8 => f32::from(u8::from(cell == 7)) * 40.0,
            _ => ((cell * (gene + 3) + cell * cell) % (gene + 4)) as f32,
        })
    }

    #[test]
    fn moments_are_those_of_the_dense_matrix() {
        let (means, variances) = moments(&Counts::from_dense(&dense()));
        for (gene, column) in dense().mapv(f64::from).axis_iter(Axis(1)).enumerate() {
            assert!((means[gene] - column.mean().expect("50 cells")).abs() < 1e-12);
            assert!((variances[gene] - column.var(1.0)).abs() < 1e-10);
        }
    }

    #[test]
    fn standardised_variance_is_that_of_clipped_counts() {
        let table = seurat_v3(&Counts::from_dense(&dense()), 3).expect("28 genes vary");
        let dense = dense().mapv(f64::from);
        let varying: Vec<usize> = (0..30).filter(|&gene| table.dispersions[gene] > 0.0).collect();
        let log = |values: &[f64]| varying.iter().map(|&gene| values[gene].log10()).collect::<Vec<_>>();
        let fitted = loess(&log(&table.means), &log(&table.dispersions), SPAN).expect("28 points");
        for (&gene, fit) in varying.iter().zip(fitted) {
            let (mean, sd) = (table.means[gene], 10_f64.powf(fit / 2.0));
            let squares = dense.column(gene).mapv(|x| ((x - mean) / sd).min(50_f64.sqrt()).powi(2));
            assert!((table.dispersions_norm[gene] - squares.sum() / 49.0).abs() < 1e-9, "gene {gene}");
        }
        assert_eq!(table.genes().len(), 3);
        assert!(table.selected[8], "one cell with 40 counts is what a variable gene looks like");
    }

    #[test]
    fn genes_that_do_not_vary_are_never_chosen() {
        for table in [
            seurat(&Counts::from_dense(&dense()), 100),
            seurat_v3(&Counts::from_dense(&dense()), 28).expect("28 genes vary"),
        ] {
            assert!(!table.selected[3] && !table.selected[5]);
            assert_eq!(table.genes().len(), 28);
        }
    }
}

mod gene_sets {
    use genailab::data::GeneSets;

    fn names(genes: &[&str]) -> Vec<String> {
        genes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_the_forms_in_use() {
        let sets = GeneSets::parse("A\thttp://a\tX\tY\tX\r\n\nB\t\tY,1.0\tZ\t\t\n").expect("valid").sets;
        assert_eq!(sets.len(), 2);
        assert_eq!((sets[0].name.as_str(), sets[0].description.as_str()), ("A", "http://a"));
        assert_eq!(sets[0].genes, ["X", "Y"]);
        assert_eq!(sets[1].genes, ["Y", "Z"]);
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, line, word) in [
            ("", "line 1", "no gene set"),
            ("A\td\tX\n\nB d X", "line 3", "has no gene"),
            ("A\td\tX\n\td\tX", "line 2", "no name"),
            ("A\td\tX\nB\td\tX\nA\td\tY", "line 3", "stands in line 1"),
        ] {
            let message = GeneSets::parse(text).expect_err("must be refused").to_string();
            assert!(message.contains(line) && message.contains(word), "{message}");
        }
    }

    #[test]
    fn sets_are_matched_to_columns() {
        let sets = GeneSets::parse("A\t\tX\tQ\tZ\nB\t\tQ\nC\t\tY\nD\t\tX\tY\tZ\tW").expect("valid");
        let measured = sets.measured(&names(&["Z", "Y", "X", "W"]), 2, 3).expect("a set is left");
        assert_eq!(measured.names, ["A"]);
        assert_eq!(measured.columns, [vec![0, 2]]);
        assert_eq!(measured.notes.len(), 3, "{:?}", measured.notes);
        assert!(measured.notes[0].contains("1 of 4 gene sets have no measured gene"));
        let error = sets.measured(&names(&["ENSG1"]), 1, 9).expect_err("nothing fits").to_string();
        assert!(error.contains("ENSG1"), "{error}");
    }

    #[test]
    fn symbols_of_another_species_are_said() {
        let sets = GeneSets::parse("A\t\tKLF1\tGATA1\tMYC\nB\t\tKLF1\tSPI1").expect("valid");
        let mouse = names(&["Klf1", "Gata1", "Spi1", "Xist"]);
        let error = sets.measured(&mouse, 1, 9).expect_err("no name fits").to_string();
        assert!(
            error.contains("3 genes differ by capital letters alone, the data's Gata1 and the sets' GATA1"),
            "{error}"
        );
        // One gene of a human dataset that happens to be written otherwise is no other species.
        let human = names(&["KLF1", "GATA1", "Spi1"]);
        assert_eq!(sets.measured(&human, 1, 9).expect("most names fit").notes, Vec::<String>::new());
    }
}

mod normalised {
    use genailab::{
        data::{
            Counts, TargetSum,
            normalize::{group_means, log1p, normalize_total},
        },
        ndarray::array,
    };

    #[test]
    fn cells_reach_the_target_and_empty_cells_stay_empty() {
        let counts = Counts::from_dense(&array![[1.0, 3.0], [0.0, 0.0], [0.0, 5.0]]);
        let scaled = normalize_total(&counts, &[4.0, 0.0, 10.0], TargetSum::Fixed(100.0)).expect("fits");
        assert_eq!(scaled.to_dense(), array![[25.0, 75.0], [0.0, 0.0], [0.0, 50.0]]);
        let median = TargetSum::Median.resolve(&[4.0, 0.0, 10.0]).expect("two cells have counts");
        assert_eq!(median, 7.0, "the median ignores the empty cell");
        assert_eq!(log1p(scaled).row(0).1[0], 26.0_f32.ln());
    }

    #[test]
    fn bad_library_sizes_are_refused() {
        let counts = Counts::from_dense(&array![[1.0], [2.0]]);
        for sizes in [&[1.0][..], &[1.0, f32::NAN], &[1.0, -2.0]] {
            assert!(normalize_total(&counts, sizes, TargetSum::default()).is_err(), "{sizes:?}");
        }
        assert!(TargetSum::Fixed(0.0).resolve(&[1.0]).is_err());
        assert!(TargetSum::Median.resolve(&[0.0]).is_err());
    }

    #[test]
    fn group_means_are_the_plain_ones() {
        let values = Counts::from_dense(&array![[1.0, 0.0], [3.0, 2.0], [0.0, 8.0]]);
        let means = group_means(&values, &[0, 0, 2], 3).expect("labels fit");
        assert_eq!(means.row(0), array![2.0, 1.0]);
        assert_eq!(means.row(2), array![0.0, 8.0]);
        assert!(means.row(1).iter().all(|mean| mean.is_nan()), "a group without cells has no mean");
        assert!(group_means(&values, &[0, 0, 3], 3).is_err());
    }
}

mod course {
    use genailab::{
        data::{Counts, CourseData, Dataset, Perturbation, Table, course::sample},
        ndarray::Array2,
    };
    use std::path::Path;

    fn dataset(labels: &[&str]) -> Dataset {
        let labels: Vec<Perturbation> = labels.iter().map(|name| name.parse().expect("a perturbation")).collect();
        let names = |n: usize, what: &str| Table::from_names((0..n).map(|i| format!("{what}{i}")).collect());
        let counts = Counts::from_dense(&Array2::ones((labels.len(), 3)));
        let cells = names(labels.len(), "cell");
        Dataset::new(counts, names(3, "gene"), cells, &labels, None, None).expect("the parts fit")
    }

    #[test]
    fn only_doubles_with_both_singles_count_and_the_largest_is_first() {
        let data = dataset(&["control", "A", "B", "C", "A+B", "A+C", "A+C", "A+D"]);
        let names: Vec<[String; 3]> = data
            .doubles_with_singles()
            .iter()
            .map(|d| [d.double, d.singles[0], d.singles[1]].map(|label| data.perturbations[label].to_string()))
            .collect();
        assert_eq!(names, [["A+C", "A", "C"], ["A+B", "A", "B"]]);
    }

    #[test]
    fn a_sample_keeps_every_perturbation() {
        let mut labels = vec!["control"; 90];
        labels.extend(["A"; 9]);
        labels.push("B");
        let data = dataset(&labels);
        let sampled = data.select_cells(&sample(&data, 20));
        assert_eq!(sampled.cells_per_perturbation(), [18, 2, 1]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = CourseData::open(Path::new("nowhere.h5ad")).expect_err("there is no such file");
        assert!(error.to_string().contains("GENAILAB_DATA names nowhere.h5ad"), "{error}");
    }
}

mod manifest {
    use genailab::data::fetch::{MANIFEST, Manifest};

    #[test]
    fn the_built_in_manifest_is_sound() {
        let manifest = Manifest::builtin().expect("it parses");
        assert!(manifest.find("Norman").is_ok(), "case does not matter");
        for source in &manifest.datasets {
            assert!(source.url.starts_with("https://"), "{}", source.url);
            assert!(source.md5.as_ref().is_some_and(|md5| md5.len() == 32), "{}", source.name);
        }
        let error = manifest.find("normal").expect_err("there is none").to_string();
        assert!(error.contains("'normal'") && error.contains("norman-gears"), "{error}");
    }

    #[test]
    fn a_file_name_that_is_a_path_is_refused() {
        let text = MANIFEST.replace("\"NormanWeissman2019_filtered.h5ad\"", "\"../../evil\"");
        assert!(Manifest::from_json(&text).is_err());
    }
}

mod checksums {
    use genailab::data::fetch::hash::{of_file, record, recorded};
    use std::fs;

    #[test]
    fn known_sums() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("abc");
        fs::write(&path, "abc").expect("written");
        let sums = of_file(&path).expect("read");
        // The test vectors of RFC 1321 and FIPS 180-4.
        assert_eq!(sums.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(sums.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sums.size, 3);
        assert_eq!(recorded(&path).expect("no record is no error"), None);
        record(&path, &sums.sha256).expect("written");
        assert_eq!(recorded(&path).expect("read"), Some(sums.sha256));
    }
}

mod draws {
    use genailab::data::split::random::{Draw, shuffle, shuffled};
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    #[test]
    fn shuffling_is_a_permutation_and_fair() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut first = [0_usize; 4];
        for _ in 0..4_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut rng);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|&n| (850..1_150).contains(&n)), "{first:?}");
    }

    #[test]
    fn streams_differ_and_the_order_that_items_come_in_does_not_matter() {
        let order = |items: &[u32], draw| shuffled(items.to_vec(), 7, draw);
        let sorted: Vec<u32> = (0..50).collect();
        let backwards: Vec<u32> = (0..50).rev().collect();
        assert_eq!(order(&sorted, Draw::Genes), order(&backwards, Draw::Genes));
        assert_ne!(order(&sorted, Draw::Genes), order(&sorted, Draw::Conditions));
    }
}

mod divided_cells {
    use genailab::data::split::{MIN_CELLS_TO_DIVIDE, cells::part_sizes};

    #[test]
    fn no_part_of_a_perturbation_is_empty() {
        for n in MIN_CELLS_TO_DIVIDE..200 {
            for (validation, test) in [(0.1, 0.1), (0.001, 0.9), (0.49, 0.5), (0.3, 0.3)] {
                let (n_validation, n_test) = part_sizes(n, validation, test);
                assert!(n_validation >= 1 && n_test >= 1 && n_validation + n_test < n, "{n} {validation} {test}");
            }
            assert_eq!(part_sizes(n, 0.0, 0.0), (0, 0));
        }
        assert_eq!(part_sizes(1_000, 0.1, 0.25), (100, 250));
    }
}
