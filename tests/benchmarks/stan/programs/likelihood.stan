  // log M(t) = log M0 + KL t - KD J(t), so J is a quadrature and no ODE is solved. A patient's nodes are a matrix, panels
  // along its columns: a scalar parameter times data, and data times a matrix, have cheap derivatives.
  {
    vector[n_patients] log_M0 = phi[, 1];
    vector[n_patients] KL = exp(phi[, 2]);
    vector[n_patients] KD = exp(phi[, 3]);
    vector[n_patients] R = exp(phi[, 4]);
    vector[n_patients] EC50 = exp(phi[, 5]);
    vector[n_patients] lp = x_hazard * beta_hazard;
    row_vector[order] ones = ones_row_vector(order);
    real log_Te = log(Te);
    vector[n_measurements] log_m;
    vector[n_patients] log_hazard;
    vector[n_patients] cumulative_hazard;
    for (i in 1:n_patients) {
      int from = first_panel[i];
      int to = last_panel[i];
      int n = to - from + 1;
      int used = hazard_panels[i];
      int last = from + used - 1;
      matrix[order, n] effect = concentration[, from:to] ./ (EC50[i] + concentration[, from:to]);
      if (has_dexamethasone[i]) {
        effect += k * dexamethasone[, from:to];
      }
      matrix[order, n] kill = exp(-R[i] * day[, from:to]) .* effect;
      matrix[order, n] weighted = weight[, from:to] .* kill;
      row_vector[n + 1] J = append_col(0, cumulative_sum(ones * weighted));  // at panel ends, from day 0 on
      matrix[order, used] log_m_node = log_M0[i] + KL[i] * day[, from:last]
                                       - KD[i] * (share * weighted[, 1:used] + rep_matrix(J[1:used], order));
      matrix[order, used] slope = (KL[i] - KD[i] * kill[, 1:used]) .* exp(log_m_node);
      cumulative_hazard[i] = s * exp(lp[i])
                             * sum(weight_by_day[, from:last]
                                   .* exp(beta_link * slope - log1p_exp(s * log_Te - s * log_day[, from:last])));
      if (last_measurement[i] >= first_measurement[i]) {
        int m1 = first_measurement[i];
        int m2 = last_measurement[i];
        for (j in m1:m2) {
          log_m[j] = log_M0[i] + KL[i] * measurement_day[j] - KD[i] * J[1 + measurement_panel[j]];
        }
      }
      if (event[i]) {
        real left = exp(-R[i] * event_day[i]);
        real kill_event = left * (event_concentration[i] / (EC50[i] + event_concentration[i])
                                  + k * event_dexamethasone[i]);
        real m_event = exp(log_M0[i] + KL[i] * event_day[i] - KD[i] * J[1 + used]);
        log_hazard[i] = log(s) + lp[i] - log(event_day[i]) - log1p_exp(-s * (log(event_day[i]) - log_Te))
                        + beta_link * (KL[i] - KD[i] * kill_event) * m_event;
      } else {
        log_hazard[i] = 0;
      }
    }
    target += sum(log_hazard) - sum(cumulative_hazard);
    vector[n_measurements] m = exp(log_m);
#include residual.stan
  }
