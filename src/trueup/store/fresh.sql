-- Written by `make generate` from the migrations; do not edit.
-- revision 0024

CREATE TABLE schema_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT schema_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE activity (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	kind TEXT NOT NULL,
	at BIGINT NOT NULL,
	rows BIGINT NOT NULL,
	PRIMARY KEY (entity, system, kind, at)
);

CREATE TABLE "conflict" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	entity INTEGER NOT NULL,
	golden_id BIGINT NOT NULL,
	field TEXT NOT NULL,
	kind TEXT NOT NULL,
	base TEXT,
	golden TEXT,
	candidates TEXT,
	run BIGINT,
	opened_at BIGINT NOT NULL,
	closed_at BIGINT,
	resolution TEXT
);

CREATE UNIQUE INDEX conflict_open ON "conflict" (entity, golden_id, field) WHERE closed_at IS NULL;

CREATE TABLE counter (
	name TEXT NOT NULL,
	value BIGINT NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE cursor (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	cursor TEXT,
	full_at BIGINT,
	full_rows BIGINT,
	considered_version BIGINT DEFAULT '0' NOT NULL,
	mapping_version BIGINT, mark TEXT,
	PRIMARY KEY (entity, system)
);

CREATE TABLE entity_name (
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (name)
);

CREATE TABLE failure (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	subject TEXT NOT NULL,
	"key" TEXT,
	golden_id BIGINT,
	stage TEXT NOT NULL,
	field TEXT DEFAULT '' NOT NULL,
	reason TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	first_at BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	next_try_at BIGINT,
	told BOOLEAN DEFAULT 0 NOT NULL,
	UNIQUE (entity, system, subject, stage, field)
);

CREATE TABLE golden (
	id INTEGER NOT NULL,
	entity INTEGER NOT NULL,
	data TEXT,
	origin_system INTEGER,
	origin_at BIGINT,
	origins TEXT,
	version BIGINT NOT NULL,
	deleted_at BIGINT,
	alias_of BIGINT,
	PRIMARY KEY (id)
);

CREATE INDEX golden_alive ON golden (entity, version) WHERE deleted_at IS NULL AND alias_of IS NULL;

CREATE TABLE history (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	version BIGINT NOT NULL,
	entity INTEGER NOT NULL,
	golden_id BIGINT NOT NULL,
	run BIGINT,
	field TEXT,
	kind TEXT NOT NULL,
	system INTEGER,
	at BIGINT,
	recorded_at BIGINT NOT NULL,
	rule TEXT,
	"before" TEXT,
	"after" TEXT,
	detail TEXT
);

CREATE INDEX history_run ON history (run);

CREATE TABLE hold (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	kind TEXT NOT NULL,
	counts TEXT,
	limit_ TEXT,
	since BIGINT NOT NULL,
	decision TEXT,
	ceiling BIGINT,
	decided_at BIGINT
, decided_by TEXT);

CREATE UNIQUE INDEX hold_undecided ON hold (entity, system, kind) WHERE decision IS NULL;

CREATE TABLE lock_holder (
	name TEXT NOT NULL,
	token BIGINT NOT NULL,
	pid BIGINT NOT NULL,
	host TEXT NOT NULL,
	purpose TEXT NOT NULL,
	since BIGINT NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE mapping_version (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	spec TEXT NOT NULL,
	at BIGINT NOT NULL
);

CREATE INDEX mapping_version_lane ON mapping_version (entity, system);

CREATE TABLE match_key (
	entity INTEGER NOT NULL,
	rule SMALLINT NOT NULL,
	hash BIGINT NOT NULL,
	golden_id BIGINT NOT NULL,
	PRIMARY KEY (entity, rule, hash, golden_id)
)
 WITHOUT ROWID;

CREATE TABLE meta (
	"key" TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY ("key")
);

CREATE TABLE parked (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	"key" TEXT NOT NULL,
	candidates TEXT,
	why TEXT NOT NULL,
	run BIGINT,
	since BIGINT NOT NULL,
	decision TEXT,
	decided_at BIGINT,
	UNIQUE (entity, system, "key")
);

CREATE TABLE paused (
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	PRIMARY KEY (kind, name)
);

CREATE TABLE run (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	command TEXT NOT NULL,
	status TEXT NOT NULL,
	started_at BIGINT NOT NULL,
	finished_at BIGINT,
	seconds FLOAT,
	summary TEXT,
	pid BIGINT,
	host TEXT,
	error TEXT
, who TEXT);

CREATE TABLE sending (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	kind TEXT NOT NULL,
	run BIGINT,
	at BIGINT NOT NULL,
	owner TEXT,
	payload BLOB NOT NULL
);

CREATE INDEX sending_lane ON sending (entity, system);

CREATE TABLE shadow (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	"key" TEXT NOT NULL,
	golden_id BIGINT,
	khash BIGINT NOT NULL,
	fingerprint BIGINT,
	seen TEXT,
	sent TEXT,
	"before" TEXT,
	written_at BIGINT,
	modified BIGINT,
	native_version TEXT,
	state SMALLINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (entity, system, "key")
)
 WITHOUT ROWID;

CREATE UNIQUE INDEX shadow_link ON shadow (entity, golden_id, system) WHERE golden_id IS NOT NULL;

CREATE INDEX shadow_not_present ON shadow (entity, system, state) WHERE state != 0;

CREATE INDEX shadow_sent ON shadow (entity, system) WHERE sent IS NOT NULL;

CREATE TABLE system_name (
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (name)
);

CREATE TABLE unsettled_key (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	"key" TEXT NOT NULL,
	why TEXT NOT NULL,
	since BIGINT NOT NULL,
	PRIMARY KEY (entity, system, "key")
)
 WITHOUT ROWID;

CREATE TABLE match_golden (
	entity INTEGER NOT NULL,
	golden_id BIGINT NOT NULL,
	rule SMALLINT NOT NULL,
	hash BIGINT NOT NULL,
	PRIMARY KEY (entity, golden_id, rule, hash)
)
 WITHOUT ROWID;

CREATE INDEX run_running ON run (id) WHERE status = 'running';

CREATE TABLE created (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	run BIGINT NOT NULL,
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	rows BIGINT NOT NULL,
	payload BLOB NOT NULL
);

CREATE INDEX created_run ON created (run);

CREATE TABLE outsider (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	golden_id BIGINT NOT NULL,
	"key" TEXT NOT NULL,
	fingerprint BIGINT,
	PRIMARY KEY (entity, system, golden_id)
)
 WITHOUT ROWID;

CREATE TABLE secret (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	data_key TEXT,
	sealed BLOB,
	at BIGINT NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE data_key (
	id TEXT NOT NULL,
	master TEXT NOT NULL,
	sealed BLOB NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (id)
);

CREATE TABLE audit (
	number INTEGER NOT NULL,
	line TEXT NOT NULL,
	hash TEXT NOT NULL,
	PRIMARY KEY (number)
);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'lines of the audit trail are only ever added'); END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'lines of the audit trail are only ever added'); END;

CREATE TABLE former_key (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	"key" TEXT NOT NULL,
	golden_id BIGINT NOT NULL,
	due BOOLEAN DEFAULT 0 NOT NULL, run BIGINT,
	PRIMARY KEY (entity, system, "key")
)
 WITHOUT ROWID;

CREATE INDEX former_key_golden ON former_key (entity, system, golden_id);

CREATE INDEX former_key_due ON former_key (entity) WHERE due;

CREATE INDEX history_apart ON history (entity) WHERE kind = 'apart';

CREATE INDEX history_golden ON history (golden_id, entity);

CREATE TABLE alert (
	rule TEXT NOT NULL,
	subject TEXT NOT NULL,
	owner TEXT,
	what TEXT NOT NULL,
	remedy TEXT NOT NULL,
	since BIGINT NOT NULL,
	told_at BIGINT,
	ended_at BIGINT,
	PRIMARY KEY (rule, subject)
)
 WITHOUT ROWID;

CREATE INDEX conflict_settled ON "conflict" (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE notice_subscriber (
	name TEXT NOT NULL,
	token TEXT NOT NULL,
	since BIGINT NOT NULL,
	version BIGINT NOT NULL,
	golden_id BIGINT NOT NULL,
	failures INTEGER DEFAULT '0' NOT NULL,
	failing_since BIGINT,
	next_try_at BIGINT,
	reason TEXT,
	sent_at BIGINT,
	stopped TEXT,
	stopped_at BIGINT,
	PRIMARY KEY (name)
);

CREATE TABLE notice_open (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	subscriber TEXT NOT NULL,
	entity INTEGER NOT NULL,
	golden_id BIGINT NOT NULL,
	born BOOLEAN NOT NULL,
	since_version BIGINT NOT NULL,
	version BIGINT NOT NULL,
	attempts INTEGER NOT NULL,
	first_at BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	next_try_at BIGINT,
	dead_at BIGINT,
	reason TEXT NOT NULL,
	UNIQUE (subscriber, golden_id)
);

CREATE TABLE notice_birth (
	version INTEGER NOT NULL,
	entity INTEGER NOT NULL,
	first_id BIGINT NOT NULL,
	last_id BIGINT NOT NULL,
	PRIMARY KEY (version)
);

CREATE INDEX golden_gone ON golden (entity, version) WHERE deleted_at IS NOT NULL OR alias_of IS NOT NULL;

CREATE TABLE write_lock (
	system INTEGER NOT NULL,
	object TEXT NOT NULL,
	spec TEXT NOT NULL,
	digest TEXT,
	at BIGINT NOT NULL,
	who TEXT,
	PRIMARY KEY (system, object)
);

CREATE TABLE report (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	at BIGINT NOT NULL,
	since BIGINT NOT NULL,
	due_at BIGINT,
	title TEXT NOT NULL,
	counts TEXT NOT NULL,
	message TEXT,
	page TEXT,
	lines TEXT,
	UNIQUE (due_at)
);

CREATE TABLE report_copy (
	report BIGINT NOT NULL,
	recipient TEXT NOT NULL,
	state TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	tried_at BIGINT,
	next_try_at BIGINT,
	reason TEXT,
	PRIMARY KEY (report, recipient)
);

CREATE TABLE difference (
	entity INTEGER NOT NULL,
	system INTEGER NOT NULL,
	subject TEXT NOT NULL,
	since BIGINT NOT NULL,
	PRIMARY KEY (entity, system, subject)
)
 WITHOUT ROWID;

CREATE TABLE done_by_hand (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	process TEXT NOT NULL,
	at BIGINT NOT NULL,
	minutes FLOAT,
	steps TEXT,
	note TEXT,
	who TEXT NOT NULL
);

CREATE TABLE migration_stage (
	entity INTEGER NOT NULL,
	stage TEXT NOT NULL,
	system INTEGER NOT NULL,
	status TEXT NOT NULL,
	started_at BIGINT NOT NULL,
	finished_at BIGINT,
	who TEXT,
	facts TEXT NOT NULL,
	PRIMARY KEY (entity, stage)
);

CREATE TABLE credential (
	system TEXT NOT NULL,
	secret TEXT NOT NULL,
	version BIGINT NOT NULL,
	kind TEXT NOT NULL,
	connected_at BIGINT NOT NULL,
	obtained_at BIGINT NOT NULL,
	expires_at BIGINT,
	renew_by BIGINT,
	scopes TEXT,
	asked_at BIGINT,
	trouble TEXT,
	trouble_at BIGINT,
	PRIMARY KEY (system)
);

CREATE TABLE login_person (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	role TEXT NOT NULL,
	password TEXT,
	password_at BIGINT,
	created_at BIGINT NOT NULL,
	created_by TEXT NOT NULL,
	seen_at BIGINT,
	disabled_at BIGINT,
	UNIQUE (name)
);

CREATE TABLE login_invitation (
	hash TEXT NOT NULL,
	person BIGINT,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (hash)
);

CREATE TABLE login_session (
	hash TEXT NOT NULL,
	person BIGINT NOT NULL,
	address TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	seen_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (hash)
);

CREATE INDEX login_session_person ON login_session (person);

CREATE INDEX login_session_expires ON login_session (expires_at);

CREATE TABLE api_key (
	id TEXT NOT NULL,
	person BIGINT NOT NULL,
	name TEXT NOT NULL,
	scopes TEXT NOT NULL,
	hash TEXT NOT NULL,
	old_hash TEXT,
	old_until BIGINT,
	created_at BIGINT NOT NULL,
	rotated_at BIGINT,
	expires_at BIGINT NOT NULL,
	used_at BIGINT,
	used_from TEXT,
	revoked_at BIGINT,
	PRIMARY KEY (id)
);

CREATE INDEX api_key_person ON api_key (person);

CREATE TABLE login_failure (
	id INTEGER NOT NULL,
	at BIGINT NOT NULL,
	subject TEXT NOT NULL,
	address TEXT NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX login_failure_at ON login_failure (at);

CREATE TABLE answered (
	who TEXT NOT NULL,
	"key" TEXT NOT NULL,
	request TEXT NOT NULL,
	at BIGINT NOT NULL,
	status INTEGER,
	body TEXT,
	PRIMARY KEY (who, "key")
);

CREATE INDEX answered_at ON answered (at);

ANALYZE sqlite_master;

DELETE FROM sqlite_stat1;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('shadow', 'shadow', '1000000 500000 100000 1');

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('shadow', 'shadow_link', '1000000 500000 2 1 1');

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('shadow', 'shadow_not_present', '1000 500 100 50 1');

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('shadow', 'shadow_sent', '1000 500 100 1');

INSERT INTO schema_version VALUES ('0024');
