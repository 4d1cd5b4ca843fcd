  matrix[n_patients, 5] mean_phi;  // of log M0, KL, KD, R, EC50
  mean_phi[, 1] = log(pop[1]) + x_M0 * beta_M0;
  mean_phi[, 2] = log(pop[2]) + x_KL * beta_KL;
  mean_phi[, 3] = log(pop[3]) + x_KD * beta_KD;
  mean_phi[, 4] = log(pop[4]) + x_R * beta_R;
  mean_phi[, 5] = log(pop[5]) + x_EC50 * beta_EC50;
