data {
  int<lower=1> n_patients;
  int<lower=1> order;                                // quadrature nodes a panel
  int<lower=1> n_panels;                             // of all patients, one patient after another
  array[n_patients] int<lower=1> first_panel;
  array[n_patients] int<lower=1> last_panel;
  array[n_patients] int<lower=1> hazard_panels;      // how many of them lie before the event or censoring time
  matrix[order, order] share;                        // share of each node's weight that lies before each node
  matrix[order, n_panels] weight;                    // days
  matrix[order, n_panels] day;
  matrix[order, n_panels] log_day;
  matrix[order, n_panels] concentration;             // isatuximab, mg/L
  matrix[order, n_panels] dexamethasone;             // umol/L

  array[n_patients] int<lower=0, upper=1> event;
  vector<lower=0>[n_patients] event_day;
  vector<lower=0>[n_patients] event_concentration;
  vector<lower=0>[n_patients] event_dexamethasone;

  int<lower=0> n_measurements;
  array[n_patients] int<lower=1> first_measurement;
  array[n_patients] int<lower=0> last_measurement;   // before the first one where there is none
  vector[n_measurements] measurement_day;
  array[n_measurements] int<lower=0> measurement_panel;  // panels of the patient that end by then
  vector[n_measurements] value;                      // g/L; the LLOQ where below it
  int<lower=0, upper=n_measurements> n_below;
  array[n_below] int<lower=1> below;
  array[n_measurements - n_below] int<lower=1> quantified;

  int<lower=0> n_M0;                                 // covariates, by what they act on
  int<lower=0> n_KL;
  int<lower=0> n_KD;
  int<lower=0> n_R;
  int<lower=0> n_EC50;
  int<lower=0> n_hazard;
  matrix[n_patients, n_M0] x_M0;
  matrix[n_patients, n_KL] x_KL;
  matrix[n_patients, n_KD] x_KD;
  matrix[n_patients, n_R] x_R;
  matrix[n_patients, n_EC50] x_EC50;
  matrix[n_patients, n_hazard] x_hazard;

  // of the rk45 program alone
  real<lower=0> solver_tolerance;                    // relative and absolute
  int<lower=0> n_doses;                              // of dexamethasone
  array[n_patients] int<lower=1> first_dose;
  array[n_patients] int<lower=0> last_dose;
  vector[n_doses] dose_day;
  vector[n_doses] dose_level;                        // umol/L just after the dose
  real<lower=0> dose_rate;                           // 1/day

  // (mu, sigma) of each prior: log-normal for positive parameters, normal for effects
  array[2] vector[5] prior_pop;
  array[2] vector[5] prior_omega;
  array[2] real prior_k;
  array[2] real prior_Te;
  array[2] real prior_s;
  array[2] real prior_sigma_add;
  array[2] real prior_sigma_prop;
  array[2] real prior_beta_link;
  array[2] vector[n_M0] prior_beta_M0;
  array[2] vector[n_KL] prior_beta_KL;
  array[2] vector[n_KD] prior_beta_KD;
  array[2] vector[n_R] prior_beta_R;
  array[2] vector[n_EC50] prior_beta_EC50;
  array[2] vector[n_hazard] prior_beta_hazard;
}
