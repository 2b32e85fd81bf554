//! A table with row names: the annotations of cells (`obs`) or genes (`var`).

/// Row names and typed columns, all of one length, in the file's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// One name a row (`obs_names`, `var_names`).
    pub names: Vec<String>,
    /// Column name and values.
    pub columns: Vec<(String, Column)>,
}

/// One column. A missing value is a code of -1, `None` or NaN.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Text from a small set: `codes[row]` indexes `categories`.
    Categorical {
        /// Index into `categories`, -1 where missing.
        codes: Vec<i32>,
        /// The distinct values.
        categories: Vec<String>,
    },
    /// Free text.
    Text(Vec<Option<String>>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Real numbers.
    Float(Vec<f64>),
    /// True or false.
    Boolean(Vec<Option<bool>>),
}

impl Column {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Categorical { codes, .. } => codes.len(),
            Self::Text(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Boolean(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of each row as text, `None` where missing.
    pub fn to_text(&self) -> Vec<Option<String>> {
        match self {
            Self::Categorical { codes, categories } => {
                codes.iter().map(|&code| usize::try_from(code).ok().and_then(|c| categories.get(c).cloned())).collect()
            }
            Self::Text(values) => values.clone(),
            Self::Integer(values) => values.iter().map(|v| v.map(|v| v.to_string())).collect(),
            Self::Float(values) => values.iter().map(|v| (!v.is_nan()).then(|| v.to_string())).collect(),
            Self::Boolean(values) => values.iter().map(|v| v.map(|v| v.to_string())).collect(),
        }
    }

    /// The value of each row as a number (NaN where missing), or `None` for a text column.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        match self {
            Self::Float(values) => Some(values.clone()),
            Self::Integer(values) => Some(values.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect()),
            Self::Categorical { .. } | Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    /// The rows `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        fn pick<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|&row| values[row].clone()).collect()
        }
        match self {
            Self::Categorical { codes, categories } => {
                Self::Categorical { codes: pick(codes, rows), categories: categories.clone() }
            }
            Self::Text(values) => Self::Text(pick(values, rows)),
            Self::Integer(values) => Self::Integer(pick(values, rows)),
            Self::Float(values) => Self::Float(pick(values, rows)),
            Self::Boolean(values) => Self::Boolean(pick(values, rows)),
        }
    }
}

impl Table {
    /// A table with row names and no columns.
    pub fn from_names(names: Vec<String>) -> Self {
        Self { names, columns: Vec::new() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, values)| values)
    }

    /// Adds a column, or replaces the one of that name.
    pub fn set(&mut self, name: &str, values: Column) {
        match self.columns.iter_mut().find(|(column, _)| column == name) {
            Some((_, old)) => *old = values,
            None => self.columns.push((name.to_owned(), values)),
        }
    }

    /// The column names, in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The rows `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            names: rows.iter().map(|&row| self.names[row].clone()).collect(),
            columns: self.columns.iter().map(|(name, column)| (name.clone(), column.select(rows))).collect(),
        }
    }
}
