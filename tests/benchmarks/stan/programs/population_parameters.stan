  vector<lower=0>[5] pop;       // typical M0 (g/L), KL, KD, R (1/day), EC50 (mg/L)
  vector<lower=0>[5] omega;     // SD of their logs between patients
  real<lower=0> k;              // L/umol
  real<lower=0> Te;             // day
  real<lower=0> s;
  real<lower=0> sigma_add;      // g/L
  real<lower=0> sigma_prop;
  real beta_link;               // per g/L/day
  vector[n_M0] beta_M0;
  vector[n_KL] beta_KL;
  vector[n_KD] beta_KD;
  vector[n_R] beta_R;
  vector[n_EC50] beta_EC50;
  vector[n_hazard] beta_hazard;
