-- What a local Globus remembers. Times are seconds since the epoch.

CREATE TABLE IF NOT EXISTS remembered (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
);

-- Globus Auth. A token is known by its hash alone; `parent` is the hash of the refresh token or of
-- the caller's token that it came from, and is revoked with it.
CREATE TABLE IF NOT EXISTS tokens (
  hash TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')),
  parent TEXT,
  client_id TEXT NOT NULL,
  subject TEXT NOT NULL,
  resource_server TEXT NOT NULL,
  scope TEXT NOT NULL,
  session_id TEXT,
  issued_at REAL NOT NULL,
  expires_at REAL,
  CHECK ((kind = 'refresh') = (expires_at IS NULL))
);
CREATE INDEX IF NOT EXISTS tokens_parent ON tokens (parent);
CREATE INDEX IF NOT EXISTS tokens_subject ON tokens (subject);

CREATE TABLE IF NOT EXISTS authentications (
  session_id TEXT NOT NULL,
  identity_id TEXT NOT NULL,
  authenticated_at REAL NOT NULL,
  PRIMARY KEY (session_id, identity_id)
);

CREATE TABLE IF NOT EXISTS consents (
  id INTEGER PRIMARY KEY,
  parent INTEGER REFERENCES consents (id),
  subject TEXT NOT NULL,
  client_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  created_at REAL NOT NULL,
  used_at REAL NOT NULL
);

-- Globus Compute.
CREATE TABLE IF NOT EXISTS functions (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  code TEXT NOT NULL,      -- as registered
  packed TEXT NOT NULL,    -- as endpoints read it
  description TEXT,
  public INTEGER NOT NULL,
  group_id TEXT,
  metadata TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS endpoints (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  registration TEXT NOT NULL,   -- the body of the registration, as JSON
  heartbeat_s REAL NOT NULL DEFAULT 0,   -- 0: it said that it stops
  seen_at REAL NOT NULL DEFAULT 0
);

-- A process that an endpoint starts for one identity and one configuration.
CREATE TABLE IF NOT EXISTS user_endpoints (
  id TEXT PRIMARY KEY,
  endpoint_id TEXT NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
  owner TEXT NOT NULL,
  configuration TEXT NOT NULL,
  runtime TEXT NOT NULL,
  name TEXT NOT NULL,
  report TEXT NOT NULL DEFAULT '{}',
  heartbeat_s REAL NOT NULL DEFAULT 0,
  seen_at REAL NOT NULL DEFAULT 0,
  start_sent_at REAL NOT NULL DEFAULT 0,
  UNIQUE (endpoint_id, owner, configuration)
);

CREATE TABLE IF NOT EXISTS task_groups (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  has_queue INTEGER NOT NULL,
  created_at REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS tasks (
  id TEXT PRIMARY KEY,
  group_id TEXT NOT NULL,
  owner TEXT NOT NULL,
  function_id TEXT NOT NULL,
  user_endpoint_id TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'success', 'failed')),
  created_at REAL NOT NULL,
  completed_at REAL,
  outcome TEXT,     -- the result, or the text of the exception
  details TEXT,
  CHECK ((status = 'pending') = (completed_at IS NULL))
);
CREATE INDEX IF NOT EXISTS tasks_group ON tasks (group_id);
CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (user_endpoint_id) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS tasks_age ON tasks (status, completed_at);
