// As noncentered.stan, but each patient's likelihood is a term of reduce_sum: its derivatives are taken at once and its tape
// freed, so that the work stays in the processor's caches however many patients there are.
functions {
  real patients_lpdf(array[] vector phi, int start, int end, real k, real Te, real s, real sigma_add, real sigma_prop,
                     real beta_link, vector beta_hazard, data matrix x_hazard, data matrix share, data matrix weight,
                     data matrix weight_by_day, data matrix day, data matrix log_day, data matrix concentration,
                     data matrix dexamethasone, data array[,] int where, data matrix at_event,
                     data vector measurement_day, data array[] int measurement_panel, data vector value,
                     data array[] int is_below) {
    int order = rows(day);
    row_vector[order] ones = ones_row_vector(order);
    real log_Te = log(Te);
    real total = 0;
    for (i in start:end) {
      vector[5] theta = exp(phi[i - start + 1]);
      real log_M0 = phi[i - start + 1][1];
      real KL = theta[2];
      real KD = theta[3];
      real R = theta[4];
      real EC50 = theta[5];
      real lp = x_hazard[i] * beta_hazard;
      int from = where[i, 1];
      int to = where[i, 2];
      int n = to - from + 1;
      int used = where[i, 3];
      int last = from + used - 1;
      matrix[order, n] effect = concentration[, from:to] ./ (EC50 + concentration[, from:to]);
      if (where[i, 4]) {
        effect += k * dexamethasone[, from:to];
      }
      matrix[order, n] kill = exp(-R * day[, from:to]) .* effect;
      matrix[order, n] weighted = weight[, from:to] .* kill;
      row_vector[n + 1] J = append_col(0, cumulative_sum(ones * weighted));
      matrix[order, used] log_m_node = log_M0 + KL * day[, from:last]
                                       - KD * (share * weighted[, 1:used] + rep_matrix(J[1:used], order));
      matrix[order, used] slope = (KL - KD * kill[, 1:used]) .* exp(log_m_node);
      total -= s * exp(lp)
               * sum(weight_by_day[, from:last]
                     .* exp(beta_link * slope - log1p_exp(s * log_Te - s * log_day[, from:last])));
      if (where[i, 5]) {
        real t = at_event[i, 1];
        real kill_event = exp(-R * t) * (at_event[i, 2] / (EC50 + at_event[i, 2]) + k * at_event[i, 3]);
        real m_event = exp(log_M0 + KL * t - KD * J[1 + used]);
        total += log(s) + lp - log(t) - log1p_exp(-s * (log(t) - log_Te)) + beta_link * (KL - KD * kill_event) * m_event;
      }
      for (j in where[i, 6]:where[i, 7]) {
        real m = exp(log_M0 + KL * measurement_day[j] - KD * J[1 + measurement_panel[j]]);
        real sd_m = hypot(sigma_add, sigma_prop * m);
        total += is_below[j] ? normal_lcdf(value[j] | m, sd_m) : normal_lpdf(value[j] | m, sd_m);
      }
    }
    return total;
  }
}
#include data.stan
transformed data {
  matrix[order, n_panels] weight_by_day = weight ./ day;
  array[n_patients, 7] int where;  // first and last panel, hazard panels, dexamethasone, event, first and last measurement
  matrix[n_patients, 3] at_event = append_col(append_col(event_day, event_concentration), event_dexamethasone);
  array[n_measurements] int is_below = zeros_int_array(n_measurements);
  for (i in 1:n_patients) {
    where[i] = {first_panel[i], last_panel[i], hazard_panels[i],
                max(dexamethasone[, first_panel[i]:last_panel[i]]) > 0, event[i], first_measurement[i],
                last_measurement[i]};
  }
  for (j in below) {
    is_below[j] = 1;
  }
}
parameters {
#include population_parameters.stan
  matrix[n_patients, 5] eta;
}
transformed parameters {
  matrix[n_patients, 5] phi;
  {
#include mean.stan
    phi = mean_phi + diag_post_multiply(eta, omega);
  }
}
model {
#include priors.stan
  target += std_normal_lpdf(to_vector(eta));
  array[n_patients] vector[5] each;
  for (i in 1:n_patients) {
    each[i] = phi[i]';
  }
  target += reduce_sum(patients_lpdf, each, 1, k, Te, s, sigma_add, sigma_prop, beta_link, beta_hazard, x_hazard, share,
                       weight, weight_by_day, day, log_day, concentration, dexamethasone, where, at_event,
                       measurement_day, measurement_panel, value, is_below);
}
