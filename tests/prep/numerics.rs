//! The numerical methods of `math`.

mod smoothing {
    use genailab::math::loess::loess;

    #[test]
    fn a_parabola_is_its_own_fit() {
        let x: Vec<f64> = (0..60).map(|i| f64::from(i * i) / 100.0).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 - 2.0 * x + 0.5 * x * x).collect();
        // A cubic through the values and slopes of a parabola is that parabola.
        for (fitted, expected) in loess(&x, &y, 0.3).expect("60 finite points").iter().zip(&y) {
            assert!((fitted - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{fitted} for {expected}");
        }
    }

    #[test]
    fn fits_are_those_of_scikit_misc() {
        let reference: serde_json::Value =
            serde_json::from_str(include_str!("../reference/hvg.json")).expect("the file is JSON");
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            serde_json::from_value(value.clone()).expect("a list of numbers")
        };
        let curve = &reference["loess"];
        let (x, y) = (numbers(&curve["x"]), numbers(&curve["y"]));
        for (span, fitted) in curve["fitted"].as_object().expect("one list a span") {
            let ours = loess(&x, &y, span.parse().expect("a number")).expect("finite points");
            for (i, (ours, theirs)) in ours.iter().zip(numbers(fitted)).enumerate() {
                assert!((ours - theirs).abs() < 1e-7, "span {span}, point {i}: {ours}, scikit-misc {theirs}");
            }
        }
    }

    #[test]
    fn ties_beyond_the_window_give_their_mean() {
        let x = [vec![0.0; 50], vec![1.0; 2]].concat();
        let y: Vec<f64> = (0..52).map(|i| f64::from(i % 2)).collect();
        let fitted = loess(&x, &y, 0.3).expect("finite points");
        assert!(fitted.iter().all(|value| value.is_finite()), "{fitted:?}");
    }

    #[test]
    fn too_few_points_are_refused() {
        assert!(loess(&[0.0, 1.0, 2.0], &[0.0, 1.0, 2.0], 0.3).is_err());
        assert!(loess(&[0.0, 1.0, 2.0, f64::NAN], &[0.0; 4], 0.3).is_err());
        assert!(loess(&[0.0, 1.0, 2.0, 3.0], &[0.0; 4], 0.0).is_err());
    }
}

mod solving {
    use genailab::{
        ErrorKind,
        math::cholesky::solve,
        ndarray::{Array2, array},
    };
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_solution_solves() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n in [1, 2, 7, 40] {
            let root = Array2::from_shape_simple_fn((n, n + 3), || rng.random_range(-1.0..1.0));
            let a = root.dot(&root.t()) + 0.1 * Array2::<f64>::eye(n);
            let b = Array2::from_shape_simple_fn((n, 3), || rng.random_range(-1.0..1.0));
            let left = a.dot(&solve(&a, &b).expect("positive definite")) - &b;
            assert!(left.iter().all(|v| v.abs() < 1e-10), "n = {n}: {left}");
        }
    }

    #[test]
    fn by_hand() {
        let x = solve(&array![[4.0, 2.0], [2.0, 3.0]], &array![[8.0], [8.0]]).expect("positive definite");
        assert!((&x - &array![[1.0], [2.0]]).iter().all(|v| v.abs() < 1e-12), "{x}");
    }

    #[test]
    fn what_has_no_solution_is_refused() {
        let b = array![[1.0], [1.0]];
        for a in [array![[1.0, 2.0], [2.0, 1.0]], array![[0.0, 0.0], [0.0, 1.0]], array![[f64::NAN, 0.0], [0.0, 1.0]]] {
            assert_eq!(solve(&a, &b).expect_err("not positive definite").kind(), ErrorKind::Numeric);
        }
        assert_eq!(solve(&array![[1.0]], &b).expect_err("shapes").kind(), ErrorKind::Shape);
    }
}

mod eigenvectors {
    use genailab::{
        math::symmetric_eigen,
        ndarray::{self, Array1, Array2, Axis},
    };
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[track_caller]
    fn check(a: &Array2<f64>) {
        let n = a.nrows();
        let (values, vectors) = symmetric_eigen(a.clone());
        let scale = a.iter().fold(1e-300, |m: f64, v| m.max(v.abs()));
        assert!(values.iter().zip(values.iter().skip(1)).all(|(a, b)| a >= b), "{values}");
        let off = vectors.dot(&vectors.t()) - Array2::<f64>::eye(n);
        assert!(off.iter().all(|v| v.abs() < 1e-11), "not orthonormal, n = {n}");
        let left = vectors.dot(a) - &vectors * &values.view().insert_axis(Axis(1));
        assert!(left.iter().all(|v| v.abs() < 1e-11 * scale * n as f64), "A v is not lambda v, n = {n}");
    }

    #[test]
    fn vectors_are_orthonormal_and_eigen() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for n in [1, 2, 3, 10, 80] {
            let root = Array2::from_shape_simple_fn((n, n), || rng.random_range(-1.0..1.0));
            check(&(&root + &root.t()));
            // Of rank two, so that most eigenvalues are one.
            let thin = Array2::from_shape_simple_fn((n, 2), || rng.random_range(-1.0..1.0));
            check(&thin.dot(&thin.t()));
        }
        check(&Array2::zeros((4, 4)));
        check(&Array2::eye(5));
        check(&Array2::from_diag(&Array1::from(vec![1.0, -3.0, 2.0])));
    }

    #[test]
    fn by_hand() {
        let (values, _) = symmetric_eigen(ndarray::array![[2.0, 1.0], [1.0, 2.0]]);
        assert!((values[0] - 3.0).abs() < 1e-14 && (values[1] - 1.0).abs() < 1e-14, "{values}");
    }
}
