// Joint model of M-protein and progression-free survival, non-centered individual parameters.
#include data.stan
#include transformed_data.stan
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
#include likelihood.stan
}
