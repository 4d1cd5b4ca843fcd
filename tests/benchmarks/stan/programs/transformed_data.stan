transformed data {
  matrix[order, n_panels] weight_by_day = weight ./ day;
  array[n_patients] int has_dexamethasone;
  for (i in 1:n_patients) {
    has_dexamethasone[i] = max(dexamethasone[, first_panel[i]:last_panel[i]]) > 0;
  }
}
