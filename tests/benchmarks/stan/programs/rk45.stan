// The same posterior in the style most people write: M-protein and cumulative hazard of each patient by ode_rk45, isatuximab
// looked up by linear interpolation in a table, dexamethasone decaying since its last dose. Only for timing: interpolation
// and solver tolerance leave an error.
functions {
  real interpolated(real t, vector at, vector y) {
    int low = 1;
    int high = rows(at);
    if (t <= at[1]) return y[1];
    if (t >= at[high]) return y[high];
    while (high - low > 1) {
      int middle = (low + high) %/% 2;
      if (at[middle] <= t) low = middle;
      else high = middle;
    }
    return y[low] + (y[high] - y[low]) * (t - at[low]) / (at[high] - at[low]);
  }
  // Concentration at time t, given those just after each dose; a dose counts after its time.
  real since_last_dose(real t, vector dose_day, vector dose_level, real rate) {
    int before = 0;
    while (before < rows(dose_day) && dose_day[before + 1] < t) before += 1;
    return before == 0 ? 0 : dose_level[before] * exp(-rate * (t - dose_day[before]));
  }
  vector joint_ode(real t, vector y, real KL, real KD, real R, real EC50, real k, real Te, real s, real lp,
                   real beta_link, data vector at, data vector concentration, data vector dose_day, data vector dose_level,
                   data real dose_rate) {
    real C = interpolated(t, at, concentration);
    real kill = exp(-R * t) * (C / (EC50 + C) + k * since_last_dose(t, dose_day, dose_level, dose_rate));
    real slope = (KL - KD * kill) * y[1];
    real x = (t / Te)^s;
    return [slope, t > 0 ? s / t * x / (1 + x) * exp(lp + beta_link * slope) : 0]';
  }
}
#include data.stan
transformed data {
  for (i in 1:n_patients) {
    if (last_measurement[i] >= first_measurement[i] && measurement_day[last_measurement[i]] > event_day[i]) {
      reject("this program holds no measurements after the event");
    }
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
  {
    vector[n_measurements] m;
    vector[n_patients] lp = x_hazard * beta_hazard;
    for (i in 1:n_patients) {
      int from = first_panel[i];
      int to = last_panel[i];
      vector[5] theta = exp(phi[i]');
      int before = 0;  // measurements at or before the first dose
      for (j in first_measurement[i]:last_measurement[i]) {
        if (measurement_day[j] <= 0) {
          before += 1;
          m[j] = exp(phi[i, 1] + theta[2] * measurement_day[j]);
        }
      }
      int first = first_measurement[i] + before;
      int after = last_measurement[i] - first + 1;
      array[after + 1] real times = append_array(to_array_1d(measurement_day[first:last_measurement[i]]),
                                                 {event_day[i]});
      array[after + 1] vector[2] y = ode_rk45_tol(joint_ode, [theta[1], 0]', 0, times, solver_tolerance,
                                              solver_tolerance, 1000000, theta[2], theta[3], theta[4],
                                              theta[5], k, Te, s, lp[i], beta_link, to_vector(day[, from:to]),
                                              to_vector(concentration[, from:to]),
                                              dose_day[first_dose[i]:last_dose[i]],
                                              dose_level[first_dose[i]:last_dose[i]], dose_rate);
      for (j in 1:after) {
        m[first + j - 1] = y[j][1];
      }
      target += -y[after + 1][2];
      if (event[i]) {
        real C = event_concentration[i];
        real kill = exp(-theta[4] * event_day[i]) * (C / (theta[5] + C) + k * event_dexamethasone[i]);
        real slope = (theta[2] - theta[3] * kill) * y[after + 1][1];
        real x = (event_day[i] / Te)^s;
        target += log(s / event_day[i] * x / (1 + x)) + lp[i] + beta_link * slope;
      }
    }
#include residual.stan
  }
}
