CREATE TABLE `spools` (
	`id` varbinary(16) NOT NULL,
	`seen_ms` bigint NOT NULL,
	CONSTRAINT `spools_id` PRIMARY KEY(`id`)
);
