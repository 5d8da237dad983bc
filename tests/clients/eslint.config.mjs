// What schema.graphql must be: @graphql-eslint's recommended rules and those that Relay's specification makes.
// Paths are relative to the project's root, from where checks/schema.test.mjs lints.
import graphql from "@graphql-eslint/eslint-plugin";

const { "flat/schema-recommended": recommended, "flat/schema-relay": relay } = graphql.configs;

export default [
  {
    files: ["schema.graphql"],
    plugins: { "@graphql-eslint": graphql },
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema: "schema.graphql" } } },
    rules: {
      ...recommended.rules,
      ...relay.rules,
      // Not types and root fields alone.
      "@graphql-eslint/require-description": [
        "error",
        { types: true, rootField: true, DirectiveDefinition: true, EnumValueDefinition: true, FieldDefinition: true, InputValueDefinition: true },
      ],
      // As it ships, but for one: what can grow without bound is a connection; `userErrors`, `scopes` or `ids` cannot, and are plain lists.
      "@graphql-eslint/relay-edge-types": ["error", { withEdgeSuffix: true, shouldImplementNode: true, listTypeCanWrapOnlyEdgeType: false }],
      // An issuer's own word for itself is `iss`, the issuer.
      "@graphql-eslint/no-typename-prefix": "off",
      // What has an id is a Node. These have none: wrappers by convention, and values that are nothing without what holds them.
      "@graphql-eslint/strict-id-in-types": [
        "error",
        {
          acceptedIdNames: ["id"],
          acceptedIdTypes: ["ID"],
          exceptions: {
            suffixes: ["Connection", "Edge", "Payload"],
            types: [
              "Attribution",
              "AuditActor",
              "Consent",
              "ContactActivity",
              "ContactAnalytics",
              "ContactMergePreview",
              "ContactResolution",
              "Download",
              "ErasureReceipt",
              "Evidence",
              // PostHog's, known by their keys.
              "FeatureFlag",
              "FeatureFlagValue",
              "FeatureFlagVariant",
              "HogqlResult",
              "IdentityLimit",
              "IdentityPolicy",
              "ImportCounts",
              "ImportReject",
              "IssuerRole",
              "MetricValue",
              "NudgeAction",
              "NudgeCondition",
              "NudgeContent",
              "NudgeDelivered",
              "NudgeDeliveryCounts",
              // Known by its client's own id within its delivery.
              "NudgeInteraction",
              "NudgeTrigger",
              "NudgeWithdrawn",
              "PageInfo",
              "PosthogForwarder",
              "Progress",
              "RelatedContact",
              "SegmentEstimate",
              "SegmentExplainNode",
              "SegmentExplanation",
              "SegmentSize",
              "StreamLagged",
              "TenantLimits",
              "Touch",
              "TraitConflict",
              "TraitObservation",
              "TraitSchema",
              "UserError",
            ],
          },
        },
      ],
    },
  },
];
