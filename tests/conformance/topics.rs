pub(crate) const TESTS: &[crate::stage::Group] = &[];
