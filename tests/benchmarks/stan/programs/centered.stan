// Joint model of M-protein and progression-free survival, centered individual parameters.
#include data.stan
#include transformed_data.stan
parameters {
#include population_parameters.stan
  matrix[n_patients, 5] phi;
}
model {
#include priors.stan
  {
#include mean.stan
    for (q in 1:5) {
      target += normal_lpdf(phi[, q] | mean_phi[, q], omega[q]);
    }
  }
#include likelihood.stan
}
