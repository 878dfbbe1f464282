CREATE TABLE `counts` (
	`subject` varbinary(161) NOT NULL,
	`metric` tinyint unsigned NOT NULL,
	`count` bigint NOT NULL,
	CONSTRAINT `counts_subject_metric_pk` PRIMARY KEY(`subject`,`metric`)
);
--> statement-breakpoint
CREATE TABLE `history` (
	`subject` varbinary(161) NOT NULL,
	`metric` tinyint unsigned NOT NULL,
	`at` int unsigned NOT NULL,
	`amount` bigint NOT NULL,
	CONSTRAINT `history_subject_metric_at_pk` PRIMARY KEY(`subject`,`metric`,`at`)
);
--> statement-breakpoint
CREATE TABLE `incarnations` (
	`id` tinyint unsigned NOT NULL,
	`name` varbinary(36) NOT NULL,
	CONSTRAINT `incarnations_id` PRIMARY KEY(`id`)
);
--> statement-breakpoint
CREATE TABLE `keys` (
	`key` binary(16) NOT NULL,
	`body` binary(8) NOT NULL,
	`at_ms` bigint NOT NULL,
	`seen_ms` bigint NOT NULL,
	CONSTRAINT `keys_key` PRIMARY KEY(`key`)
);
--> statement-breakpoint
CREATE TABLE `losses` (
	`id` bigint unsigned AUTO_INCREMENT NOT NULL,
	`source` varbinary(64) NOT NULL,
	`shard` smallint unsigned NOT NULL,
	`from_n` bigint NOT NULL,
	`to_n` bigint NOT NULL,
	`at_ms` bigint NOT NULL,
	CONSTRAINT `losses_id` PRIMARY KEY(`id`)
);
--> statement-breakpoint
CREATE TABLE `metrics` (
	`id` tinyint unsigned NOT NULL,
	`name` varbinary(32) NOT NULL,
	`kind` enum('tally','relation') NOT NULL,
	CONSTRAINT `metrics_id` PRIMARY KEY(`id`),
	CONSTRAINT `metrics_by_name` UNIQUE(`name`)
);
--> statement-breakpoint
CREATE TABLE `partitions` (
	`number` int unsigned NOT NULL,
	`position` bigint NOT NULL,
	`topic` varbinary(64) NOT NULL,
	CONSTRAINT `partitions_number` PRIMARY KEY(`number`)
);
--> statement-breakpoint
CREATE TABLE `relations` (
	`actor` varbinary(128) NOT NULL,
	`subject` varbinary(161) NOT NULL,
	`metric` tinyint unsigned NOT NULL,
	`stamp` bigint NOT NULL,
	`active` tinyint unsigned GENERATED ALWAYS AS (stamp % 2) STORED,
	CONSTRAINT `relations_actor_subject_metric_pk` PRIMARY KEY(`actor`,`subject`,`metric`)
);
--> statement-breakpoint
CREATE TABLE `shards` (
	`shard` smallint unsigned NOT NULL,
	`version` bigint NOT NULL,
	`stamp_max` bigint NOT NULL,
	CONSTRAINT `shards_shard` PRIMARY KEY(`shard`)
);
--> statement-breakpoint
CREATE TABLE `sources` (
	`shard` smallint unsigned NOT NULL,
	`source` varbinary(64) NOT NULL,
	`last` bigint NOT NULL,
	`at_ms` bigint NOT NULL,
	CONSTRAINT `sources_shard_source_pk` PRIMARY KEY(`shard`,`source`)
);
--> statement-breakpoint
CREATE INDEX `keys_by_time` ON `keys` (`seen_ms`);--> statement-breakpoint
CREATE INDEX `relations_by_subject` ON `relations` (`subject`,`metric`,`active`,`stamp`);--> statement-breakpoint
CREATE INDEX `relations_by_actor` ON `relations` (`actor`,`metric`,`active`,`stamp`);--> statement-breakpoint
CREATE INDEX `sources_by_name` ON `sources` (`source`);