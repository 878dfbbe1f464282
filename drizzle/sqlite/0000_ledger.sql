CREATE TABLE `actors` (
	`actor` text NOT NULL,
	`metric` integer NOT NULL,
	`type` text NOT NULL,
	`count` integer NOT NULL,
	PRIMARY KEY(`actor`, `metric`, `type`),
	CONSTRAINT "actors_range" CHECK(count >= 0)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `counts` (
	`subject` text NOT NULL,
	`metric` integer NOT NULL,
	`count` integer NOT NULL,
	PRIMARY KEY(`subject`, `metric`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `delta_segments` (
	`segment` integer PRIMARY KEY NOT NULL
);
--> statement-breakpoint
CREATE TABLE `deltas` (
	`segment` integer NOT NULL,
	`subject` text NOT NULL,
	`metric` integer NOT NULL,
	`at` integer NOT NULL,
	`amount` integer NOT NULL,
	PRIMARY KEY(`segment`, `subject`, `metric`, `at`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `filter_parts` (
	`kind` text NOT NULL,
	`number` integer NOT NULL,
	`part` integer NOT NULL,
	`bits` blob NOT NULL,
	PRIMARY KEY(`kind`, `number`, `part`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `filters` (
	`kind` text NOT NULL,
	`number` integer NOT NULL,
	`lines` integer NOT NULL,
	`seed` integer NOT NULL,
	`covers` integer NOT NULL,
	PRIMARY KEY(`kind`, `number`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `history` (
	`at` integer NOT NULL,
	`subject` text NOT NULL,
	`metric` integer NOT NULL,
	`amount` integer NOT NULL,
	PRIMARY KEY(`at`, `subject`, `metric`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `keys` (
	`step` integer NOT NULL,
	`key` blob NOT NULL,
	`body` blob NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`step`, `key`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `losses` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`source` text NOT NULL,
	`shard` integer NOT NULL,
	`from_n` integer NOT NULL,
	`to_n` integer NOT NULL,
	`at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `metrics` (
	`id` integer PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`kind` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `metrics_name_unique` ON `metrics` (`name`);--> statement-breakpoint
CREATE TABLE `position` (
	`id` integer PRIMARY KEY NOT NULL,
	`at` integer NOT NULL,
	`incarnation` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `relations` (
	`segment` integer NOT NULL,
	`actor` text NOT NULL,
	`subject` text NOT NULL,
	`metric` integer NOT NULL,
	`stamp` integer NOT NULL,
	PRIMARY KEY(`segment`, `actor`, `subject`, `metric`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `relations_by_subject` ON `relations` (`segment`,`subject`,`metric`,`stamp`) WHERE stamp & 1;--> statement-breakpoint
CREATE INDEX `relations_by_actor` ON `relations` (`segment`,`actor`,`metric`,`stamp`) WHERE stamp & 1;--> statement-breakpoint
CREATE TABLE `segments` (
	`segment` integer PRIMARY KEY NOT NULL,
	`capacity` integer NOT NULL,
	`rows` integer NOT NULL,
	`stamp_min` integer NOT NULL,
	`stamp_max` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `shards` (
	`shard` integer PRIMARY KEY NOT NULL,
	`version` integer NOT NULL,
	`stamp_max` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `sources` (
	`source` text NOT NULL,
	`shard` integer NOT NULL,
	`last` integer NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`source`, `shard`)
) WITHOUT ROWID;
