//! The parts of the simulator: interaction classes, cell numbers, draws of counts, the exact moments.

mod classes {
    use genailab::data::InteractionClass;

    #[test]
    fn names_are_read_back_in_both_spellings() {
        for class in InteractionClass::ALL {
            assert_eq!(InteractionClass::parse(class.name()), Some(class));
        }
        for (theirs, ours) in [
            ("ADDITIVE", InteractionClass::Additive),
            ("SYNERGY_SIMILAR_PHENO", InteractionClass::SynergySimilar),
            ("SYNERGY_DISSIMILAR_PHENO", InteractionClass::SynergyDissimilar),
            ("SUPPRESSOR", InteractionClass::Suppression),
            ("EPISTASIS", InteractionClass::Epistasis),
            ("REDUNDANT", InteractionClass::Redundancy),
            ("POTENTIATION", InteractionClass::Potentiation),
            ("NEOMORPHIC", InteractionClass::Neomorphism),
        ] {
            assert_eq!(InteractionClass::parse(theirs), Some(ours));
        }
        assert_eq!(InteractionClass::parse("UNLABELLED"), None);
        assert_eq!(InteractionClass::parse(""), None);
    }
}

mod landscape {
    use genailab::data::simulate::landscape::{apportion, density, solve, theta_of};

    #[test]
    fn apportioning_uses_everything() {
        assert_eq!(apportion(10, &[1.0, 1.0, 1.0]), [4, 3, 3]);
        assert_eq!(apportion(7, &[0.0, 3.0, 4.0]), [0, 3, 4]);
        assert_eq!(apportion(91_205, &[21_890.0, 69_315.0]), [21_890, 69_315]);
    }

    #[test]
    fn solving_finds_the_crossing() {
        assert!((solve(|x| x * x, 2.0, 1e-3, 1e3) - 2.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn density_of_one_gene_is_one_less_the_zero_probability() {
        let theta = theta_of(0.5);
        let zero = (theta / (theta + 0.5)).powf(theta);
        assert!((density([0.5].into_iter(), 0.0, 0.0) - (1.0 - zero)).abs() < 1e-12);
    }
}

mod cell_numbers {
    use genailab::data::{SimulationConfig, simulate::observed::cell_numbers};

    #[test]
    fn published_cell_numbers_are_kept_where_they_fit() {
        let config = |n_cells| SimulationConfig { n_cells, control_fraction: 0.1, ..SimulationConfig::default() };
        let published = [30.0, 0.0, 50.0, f64::NAN, 40.0];
        assert_eq!(cell_numbers(&[0, 2, 4], Some(&published), &config(150)), [30, 30, 50, 40]);
        assert_eq!(cell_numbers(&[0, 2, 4], Some(&published), &config(110)), [11, 25, 41, 33], "too few: shares");
        assert_eq!(cell_numbers(&[0, 1, 2], Some(&published), &config(145)), [15, 30, 50, 50], "zero: the median");
        assert_eq!(
            cell_numbers(&[0, 2, 4], Some(&published), &config(1_200)),
            [300, 225, 375, 300],
            "too many: shares"
        );
        assert_eq!(cell_numbers(&[0, 1], None, &config(100)), [10, 45, 45], "unknown: equal");
    }
}

mod counts {
    use genailab::data::simulate::cells::sample_nb;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    #[test]
    fn counts_have_the_mean_and_variance_of_a_negative_binomial() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        // Below and above the change of method, and where one gives way to the other.
        for (mu, theta) in [(0.05, 0.8), (1.5, 3.0), (15.9, 2.0), (16.1, 2.0), (300.0, 6.0)] {
            let n = 200_000;
            let draws: Vec<f64> = (0..n).map(|_| f64::from(sample_nb(mu, theta, &mut rng))).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n - 1);
            let expected = mu + mu * mu / theta;
            let error = (expected / f64::from(n)).sqrt();
            assert!((mean - mu).abs() < 5.0 * error, "mean {mean} of mu {mu}");
            assert!((variance / expected - 1.0).abs() < 0.05, "variance {variance}, expected {expected}, of mu {mu}");
        }
        assert_eq!(sample_nb(0.0, 1.0, &mut rng), 0);
    }
}

mod truth {
    use genailab::{
        data::{Perturbation, simulate::landscape::Landscape},
        ndarray::array,
    };

    /// The modified Bessel function I_0, the mean of `exp(x cos t)` over a circle.
    fn bessel_i0(x: f64) -> f64 {
        let mut term = 1.0;
        (1..30).fold(1.0, |sum, k| {
            term *= (x / (2.0 * f64::from(k))).powi(2);
            sum + term
        })
    }

    #[test]
    fn averages_over_states_are_the_closed_form_where_there_is_one() {
        // If nearly all counts are of other genes, the shares are not coupled and have closed-form means.
        let base: f64 = 1e-8;
        let landscape = Landscape {
            genes: ["a", "b", "c"].map(String::from).to_vec(),
            log_base: vec![base.ln(); 3],
            theta: vec![1.0; 3],
            loadings: array![[0.5, 0.0, 0.2], [0.1, 0.0, 0.4], [0.0, 0.7, 0.3], [0.0, 0.0, -0.4]],
            lanes: array![[0.1, 0.0, 0.0], [-0.2, 0.0, 0.3]],
            remainder: 1.0,
            perturbations: vec![Perturbation::control(), Perturbation::of(["a"])],
            log_effects: array![[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]],
            classes: vec![None, None],
            cells: vec![1, 1],
            median_library: 1e4,
            library_sd: 0.0,
            mitochondrial: vec![false; 3],
            damaged_fraction: 0.0,
            cell_types: None,
            dose_curves: Vec::new(),
        };
        let (first, second) = landscape.share_moments(&landscape.log_effects, 1);
        for gene in 0..3 {
            for (moments, power) in [(&first, 1.0), (&second, 2.0)] {
                let w = landscape.loadings.column(gene).mapv(|x| power * x);
                let lanes = landscape.lanes.column(gene).mapv(|u| (power * u).exp()).mean().expect("two lanes");
                let cycle = bessel_i0(std::f64::consts::SQRT_2 * w[0].hypot(w[1]));
                let expected = base.powf(power) * lanes * cycle * ((w[2] * w[2] + w[3] * w[3]) / 2.0).exp();
                let ratio = moments[[0, gene]] / expected;
                // The spread of a product of these log-normals over 8192 states: below 1.2 of the mean, so 1.3 %.
                assert!((ratio - 1.0).abs() < 0.03 * power, "gene {gene}, power {power}: {ratio}");
                let effect = (power * landscape.log_effects[[1, gene]]).exp();
                assert!((moments[[1, gene]] / moments[[0, gene]] / effect - 1.0).abs() < 1e-6, "the same states serve");
            }
        }
        let (mean, variance) = (1e4 * first[[0, 1]], 1e8 * second[[0, 1]]);
        let truth = landscape.truth(1);
        assert!((f64::from(truth.means[[0, 1]]) / mean - 1.0).abs() < 1e-6);
        let expected = mean + variance + (variance - mean * mean);
        assert!((f64::from(truth.variances[[0, 1]]) / expected - 1.0).abs() < 1e-6, "theta is 1");
    }
}
